"use strict";
const nothing = () => null;
SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  // There is one server, which is this one: nothing to choose.
  plugins: [() => ({ components: { ServersContainer: nothing, OperationServers: nothing } })],
});
