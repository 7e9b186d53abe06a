"use strict";
// Relative to the page: it works behind a proxy that changes the host or adds a prefix, too.
(async () => {
  const spec = await (await fetch("openapi.json")).json();
  spec.servers = [{ url: new URL(".", location.href).href.replace(/\/$/, "") }];
  window.ui = SwaggerUIBundle({
    spec,
    dom_id: "#services",
    deepLinking: true,
    validatorUrl: null,
    tryItOutEnabled: true,
    displayRequestDuration: true,
  });
})();
