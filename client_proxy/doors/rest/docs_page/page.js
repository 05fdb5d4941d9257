// Shows openapi.json as a page. Everything is put in as text, never as markup, so nothing in the document can act here.
"use strict";

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// `code` in backquotes becomes <code>; nothing else is interpreted.
function prose(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function schemaName(reference) {
  return reference.split("/").pop();
}

function typeOf(schema) {
  if (!schema || !Object.keys(schema).length) return ["anything"];
  if (schema.$ref) {
    const name = schemaName(schema.$ref);
    return [element("a", { href: "#schema-" + name }, name)];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, index) => (index ? [" or ", ...typeOf(one)] : typeOf(one)));
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const bounds = [];
  if (schema.minimum !== undefined) bounds.push("≥ " + schema.minimum);
  if (schema.maximum !== undefined) bounds.push("≤ " + schema.maximum);
  if (schema.minLength !== undefined) bounds.push("at least " + schema.minLength + " characters");
  if (schema.maxLength !== undefined) bounds.push("at most " + schema.maxLength + " characters");
  if (schema.pattern) bounds.push(schema.pattern);
  return [(schema.type || "anything") + (bounds.length ? " (" + bounds.join(", ") + ")" : "")];
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, ...[cell].flat()))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function propertiesTable(schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, one]) => {
    const notes = [...typeOf(one)];
    if (required.has(name)) notes.push(", required");
    else if (one.default !== undefined && one.default !== null) notes.push(", default " + JSON.stringify(one.default));
    return [element("code", {}, name), notes, prose(one.description)];
  });
  return rows.length ? table(["Field", "Type", ""], rows) : null;
}

function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function curlLine(method, path, operation) {
  const parts = ["curl --cacert certs/ca.pem"];
  if (method === "head") parts.push("-I");
  else if (method !== "get") parts.push("-X " + method.toUpperCase());
  if (!operation.security || operation.security.length) parts.push('-H "Authorization: Bearer $TOKEN"');
  const content = operation.requestBody ? Object.keys(operation.requestBody.content) : [];
  if (content.includes("application/json")) parts.push("--json @body.json");
  else if (content.length) parts.push("-T FILE");
  parts.push(quoted(location.origin + path));
  return parts.join(" ");
}

function operationCard(method, path, operation) {
  const inside = element("div", { class: "inside" });
  if (operation.description) inside.append(element("p", {}, ...prose(operation.description)));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    const rows = parameters.map((one) => [
      element("code", {}, one.name), one.in, typeOf(one.schema), prose(one.description),
    ]);
    inside.append(element("h4", {}, "Parameters"), table(["Name", "In", "Type", ""], rows));
  }
  if (operation.requestBody) {
    const rows = Object.entries(operation.requestBody.content).map(([media, one]) => [media, typeOf(one.schema)]);
    const heading = operation.requestBody.required ? "Body" : "Body (optional)";
    inside.append(element("h4", {}, heading), table(["Content type", "Shape"], rows));
  }
  const answers = Object.entries(operation.responses).map(([status, one]) => {
    const [media, content] = Object.entries(one.content || {})[0] || [null, null];
    const shape = content ? (content.schema ? typeOf(content.schema) : [media]) : [];
    const headers = Object.entries(one.headers || {}).flatMap(([name, header]) => [
      element("br"), element("code", {}, name), " ", ...prose(header.description),
    ]);
    return [status, [...prose(one.description), ...headers], shape];
  });
  inside.append(element("h4", {}, "Answers"), table(["Status", "", "Shape"], answers));
  inside.append(element("h4", {}, "Try it"), element("pre", {}, curlLine(method, path, operation)));
  const name = method.toUpperCase();
  const summary = element(
    "summary", {},
    element("span", { class: "method " + name }, name), element("code", {}, path),
    element("span", { class: "what" }, operation.summary || ""),
  );
  if (operation.security && !operation.security.length) {
    summary.append(element("span", { class: "open-to-all" }, " (no log-in)"));
  }
  const card = element("details", { id: "operation-" + operation.operationId }, summary, inside);
  card.dataset.words = [name, path, operation.summary, operation.description, operation.operationId].join(" ").toLowerCase();
  return card;
}

function show(description) {
  document.getElementById("version").textContent = description.info.version;
  document.getElementById("about").replaceChildren(...prose(description.info.description));
  const main = document.getElementById("operations");
  const tags = document.getElementById("tags");
  for (const tag of description.tags) {
    const section = element("section", {}, element("h2", { id: "tag-" + tag.name }, tag.name));
    section.append(element("p", {}, ...prose(tag.description)));
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(tag.name)) section.append(operationCard(method, path, operation));
      }
    }
    tags.append(element("a", { href: "#tag-" + tag.name }, tag.name));
    main.append(section);
  }
  const schemas = document.getElementById("schemas");
  schemas.append(element("h2", { id: "all-schemas" }, "Schemas"));
  tags.append(element("a", { href: "#all-schemas" }, "Schemas"));
  for (const [name, schema] of Object.entries(description.components.schemas)) {
    const about = schema.description ? element("p", {}, ...prose(schema.description)) : null;
    const inside = element("div", { class: "inside" }, about, propertiesTable(schema));
    const card = element("details", { id: "schema-" + name }, element("summary", {}, element("code", {}, name)), inside);
    card.dataset.words = name.toLowerCase();
    schemas.append(card);
  }
  openTarget();
}

function openTarget() {
  const target = location.hash ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of document.querySelectorAll("details")) {
    card.hidden = !words.every((word) => card.dataset.words.includes(word));
  }
}

document.getElementById("filter").addEventListener("input", (event) => filter(event.target.value));
window.addEventListener("hashchange", openTarget);
fetch("openapi.json")
  .then((answer) => {
    if (!answer.ok) throw new Error("status " + answer.status);
    return answer.json();
  })
  .then(show)
  .catch((error) => {
    document.getElementById("about").textContent = "The description could not be loaded: " + error.message;
  });
