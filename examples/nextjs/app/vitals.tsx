"use client";

import { useReportWebVitals } from "next/web-vitals";

// What visitors feel, for `deployd traffic --vitals`: the web server takes it, and it never reaches this app.
export function Vitals() {
  useReportWebVitals(({ id, name, value }) => {
    const release = process.env.NEXT_DEPLOYMENT_ID || "";
    navigator.sendBeacon(`/_deployd/vitals?dpl=${release}`, JSON.stringify({ id, name, value, path: location.pathname }));
  });
  return null;
}
