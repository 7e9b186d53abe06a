"use strict";
// Relative to the page: it works behind a proxy that adds a prefix, too.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#services",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  displayRequestDuration: true,
});
