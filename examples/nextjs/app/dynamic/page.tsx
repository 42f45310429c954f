import { headers } from "next/headers";

export default async function Dynamic() {
  const host = (await headers()).get("host");
  return (
    <>
      <h1>Made for you</h1>
      <p>
        You asked for <code>{host}</code> at <time>{new Date().toISOString()}</time>.
      </p>
      <p>{process.env.GREETING ?? "Set GREETING with `deployd env set GREETING`."}</p>
    </>
  );
}
