import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };
const url = process.argv[2] ?? "";
const visitor = createClient<paths>({ baseUrl: url });
const login = await visitor.POST("/api/v1/auth/login", { body: { username: "ann", password: "correct horse" } });
if (login.error) throw new Error(login.error.detail);
const headers = { Authorization: `Bearer ${login.data.token}` };
const ann = createClient<paths>({ baseUrl: url, headers });
const roof = { path: { bucket: "files", path: "plans/roof.txt" } };

async function put(content: string, lock?: number): Promise<components["schemas"]["CommittedReply"]> {
    const { data, error } = await ann.PUT("/api/v1/files/{bucket}/{path}", {
        params: { path: roof.path, header: lock === undefined ? {} : { "X-Lockstep-Lock": lock } },
        body: content,
        bodySerializer: (text) => text,
        headers: { "Content-Type": "application/octet-stream" },
    });
    if (error) throw new Error(error.detail);
    return data;
}
const saved = await put("flat\n");
const read = await ann.GET("/api/v1/files/{bucket}/{path}", { params: { path: roof.path }, parseAs: "text" });
const listed = await ann.GET("/api/v1/files/{bucket}", { params: { path: { bucket: "files" } } });
const acquired = await ann.POST("/api/v1/locks", { body: { paths: ["files/plans/roof.txt"] } });
if (acquired.error) throw new Error(acquired.error.detail);
const lock = "lock" in acquired.data ? acquired.data.lock : undefined;
const written = await put("steep\n", lock?.number);
const released = await ann.DELETE("/api/v1/locks/{id}", { params: { path: { id: lock?.id ?? "" } } });
const missing = await ann.GET("/api/v1/files/{bucket}/{path}", { params: { path: { bucket: "files", path: "none" } } });
console.log(JSON.stringify({
    saved: saved.version.size, read: read.data, listed: listed.data?.files.map((file) => file.path),
    number: lock?.number, written: written.version.lock_number, released: released.response.status,
    missing: missing.error?.code,
}));
