import type { NextRequest } from "next/server";

export function GET(request: NextRequest) {
  const name = request.nextUrl.searchParams.get("name") ?? "world";
  return Response.json({ hello: name, release: process.env.DEPLOYD_RELEASE ?? null });
}

export async function POST(request: NextRequest) {
  return Response.json({ echo: await request.text() });
}
