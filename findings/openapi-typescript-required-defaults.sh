#!/usr/bin/env bash
# openapi-typescript makes members of a request body required when they have a default.
#
# A default in a JSON schema says what an absent member means, so a request may leave it out. The types that
# openapi-typescript makes by itself demand every such member in requests too; `--default-non-nullable=false` makes them
# optional, and with them the members of answers. For our users: generate with that option.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund openapi-typescript@7.13.0 typescript@5.9.3
cat > openapi.json <<'JSON'
{"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
 "paths": {"/locks": {"post": {"operationId": "lock",
  "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Wanted"}}}},
  "responses": {"204": {"description": "done"}}}}},
 "components": {"schemas": {"Wanted": {"type": "object", "required": ["path"], "properties": {
  "path": {"type": "string"}, "seconds": {"type": "number", "default": 60}}}}}}
JSON
echo '{"compilerOptions": {"strict": true, "noEmit": true, "types": []}, "files": ["use.ts"]}' > tsconfig.json
cat > use.ts <<'TS'
import type { components } from "./api";
export const wanted: components["schemas"]["Wanted"] = { path: "plans/roof.txt" };
TS
node_modules/.bin/openapi-typescript openapi.json -o api.d.ts > made.log 2>&1
if node_modules/.bin/tsc > default.log; then
    echo "changed: a member with a default may be left out" && exit 1
fi
grep "Property 'seconds' is missing" default.log
node_modules/.bin/openapi-typescript openapi.json -o api.d.ts --default-non-nullable=false > made.log 2>&1
node_modules/.bin/tsc
echo "seen: openapi-typescript 7.13.0 demands members with defaults, unless --default-non-nullable=false"
