// Loaded before `next build`, of any version: the address of a CDN goes into the app's settled configuration as its
// assetPrefix, where next.config sets none. No file of the app's is edited. DEPLOYD_ASSET_PREFIX is the address.
"use strict";
const Module = require("node:module");

const address = process.env.DEPLOYD_ASSET_PREFIX;
const load = Module._load;
const amended = new WeakMap();

// Next.js 16 gives all builds that have a deployment id one name, and the CDN keeps files below that name for a year.
// A name with `ad` in it is what blockers of advertisements look for.
const buildName = () => (process.env.NEXT_DEPLOYMENT_ID || "").replace(/ad/g, "a-d") || null;

function amend(config) {
  if (!config || typeof config !== "object" || config.assetPrefix) return config;
  return { ...config, assetPrefix: address };
}

function amendShared(shared) {
  const { generateBuildId = buildName, ...others } = shared.defaultConfig;
  const changed = {
    defaultConfig: { ...others, generateBuildId, assetPrefix: address }, // for an app without next.config
    normalizeConfig: async (...args) => amend(await shared.normalizeConfig(...args)),
  };
  return Object.defineProperties({}, {
    ...Object.getOwnPropertyDescriptors(shared),
    ...Object.getOwnPropertyDescriptors(changed),
  });
}

if (address) {
  Module._load = function (request, ...rest) {
    const found = load.call(this, request, ...rest);
    if (!/config-shared(?:\.js)?$/.test(request) || !found || !found.defaultConfig || !found.normalizeConfig) return found;
    if (!amended.has(found)) amended.set(found, amendShared(found));
    return amended.get(found);
  };
}
