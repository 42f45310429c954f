import type { NextConfig } from "next";

// Nothing about deployment: deployd asks for a standalone build from outside.
const config: NextConfig = {
  poweredByHeader: false,
};

export default config;
