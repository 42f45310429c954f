import { connection } from "next/server";

export default async function Release() {
  await connection();
  return (
    <>
      <h1>Who answers</h1>
      <p>
        Release <code data-release>{process.env.DEPLOYD_RELEASE ?? "none: not run by deployd"}</code>
      </p>
    </>
  );
}
