"use server";

import { cookies } from "next/headers";

export async function count() {
  const jar = await cookies();
  jar.set("times", String(Number(jar.get("times")?.value ?? 0) + 1));
}
