import { cookies } from "next/headers";
import { count } from "./count";

export default async function Action() {
  const times = (await cookies()).get("times")?.value ?? "0";
  return (
    <>
      <h1>Press it</h1>
      <p>
        Pressed <output>{times}</output> times.
      </p>
      <form action={count}>
        <button type="submit">Count</button>
      </form>
    </>
  );
}
