// Runs the OpenID Certified package `oidc-provider` for tests: node server.mjs CONFIGURATION.json
//
// The protocol is the package's own. Only its pages for people are replaced: whoever comes is the person that was last
// put to /test/person, and consents.

import fs from "node:fs";
import https from "node:https";
import { Provider } from "oidc-provider";

const settings = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
let person = { sub: "nobody" };

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: { keys: settings.keys },
  claims: {
    openid: ["sub"],
    profile: ["name", "preferred_username"],
    email: ["email", "email_verified"],
    groups: ["groups"],
  },
  cookies: { keys: ["only for tests"] },
  features: { devInteractions: { enabled: false }, deviceFlow: { enabled: true } },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, DeviceCode: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ ...person, sub: id }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
});

async function interaction(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (person.refuses) {
    return provider.interactionFinished(request, response, { error: "access_denied", error_description: "not today" });
  }
  if (details.prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: person.sub } });
  }
  const grant = new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const callback = provider.callback();
const server = https.createServer(
  { cert: fs.readFileSync(settings.cert), key: fs.readFileSync(settings.key) },
  (request, response) => {
    if (request.url === "/test/person") {
      let body = "";
      request.on("data", (part) => (body += part));
      request.on("end", () => {
        person = JSON.parse(body);
        response.end("ok");
      });
    } else if (request.url.startsWith("/interaction/")) {
      interaction(request, response).catch((error) => {
        response.statusCode = 500;
        response.end(String(error));
      });
    } else {
      callback(request, response);
    }
  },
);
server.listen(settings.port, "127.0.0.1", () => console.log("ready"));
process.on("SIGTERM", () => process.exit(0));
