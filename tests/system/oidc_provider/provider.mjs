// A certified OpenID provider with made-up users, for tests.
//
//   node provider.mjs FOLDER_OF_NODE_MODULES CONFIGURATION_AS_JSON
//
// The configuration: {"port", "clients": [{"client_id", "client_secret", "redirect_uris": []}],
// "users": {"login": {"name", "groups": []}}, "jwt": whether access tokens are JSON Web Tokens, made for their client}.
// It prints its issuer when it listens. Whoever types a login of `users`, with any password, is that user.
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , modules, text] = process.argv;
const given = JSON.parse(text);
const { default: Provider } = await import(
  pathToFileURL(join(modules, "oidc-provider", "lib", "index.js"))
);

const server = createServer();
await new Promise((listening) => server.listen(given.port, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: given.clients.map((client) => ({
    ...client,
    grant_types: ["authorization_code"],
    response_types: ["code"],
    scope: "openid profile groups",
  })),
  claims: { openid: ["sub"], profile: ["name"], groups: ["groups"] },
  cookies: { keys: ["only for tests"] },
  pkce: { required: () => true },
  async findAccount(_context, id) {
    const user = given.users[id];
    return user && { accountId: id, claims: async () => ({ sub: id, ...user }) };
  },
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    resourceIndicators: {
      enabled: given.jwt,
      defaultResource: async () => `${issuer}/resource`,
      useGrantedResource: async () => true,
      getResourceServerInfo: async (_context, _resource, client) => ({
        scope: "openid profile groups",
        audience: client.clientId,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
server.on("request", provider.callback());
console.log(issuer);
