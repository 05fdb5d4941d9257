package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// operations are what a client can do again and again. turn counts over all clients.
var operations = map[string]func(c *Client, job *Job, turn int64) error{
	"make_bucket": makeBucket,
	"put":         put,
	"get":         get,
	"head":        head,
	"delete":      remove,
	"list":        list,
	"lock":        lock,
}

func keyOf(job *Job, number int64) string { return fmt.Sprintf("%s%07d", job.Prefix, number) }

func pathOf(job *Job, key string) string { return "/" + job.Bucket + "/" + key }

func makeBucket(c *Client, job *Job, _ int64) error {
	answer, err := c.exchange("PUT", "/"+job.Bucket, "", nil, nil)
	if err != nil {
		return err
	}
	return answer.expect("the new bucket", 200)
}

func put(c *Client, job *Job, turn int64) error {
	key := keyOf(job, turn)
	answer, err := c.exchange("PUT", pathOf(job, key), "", c.fill(job, key), nil)
	if err != nil {
		return err
	}
	return answer.expect("PUT", 200)
}

func get(c *Client, job *Job, turn int64) error {
	key := keyOf(job, turn%job.Keys)
	answer, err := c.exchange("GET", pathOf(job, key), "", nil, checker(job, key))
	if err != nil {
		return err
	}
	if err := answer.expect("GET", 200); err != nil {
		return err
	}
	return sized(job, key, answer)
}

func head(c *Client, job *Job, turn int64) error {
	key := keyOf(job, turn%job.Keys)
	answer, err := c.exchange("HEAD", pathOf(job, key), "", nil, nil)
	if err != nil {
		return err
	}
	if err := answer.expect("HEAD", 200); err != nil {
		return err
	}
	return sized(job, key, answer)
}

func sized(job *Job, key string, answer *Answer) error {
	if answer.length != int64(job.Size) {
		return fmt.Errorf("%s has %d bytes instead of %d", key, answer.length, job.Size)
	}
	return nil
}

func remove(c *Client, job *Job, turn int64) error {
	answer, err := c.exchange("DELETE", pathOf(job, keyOf(job, turn)), "", nil, nil)
	if err != nil {
		return err
	}
	return answer.expect("DELETE", 204)
}

// list asks for one page of job.Keys keys.
func list(c *Client, job *Job, _ int64) error {
	query := fmt.Sprintf("list-type=2&max-keys=%d&prefix=%s", job.Keys, escaped(job.Prefix))
	answer, err := c.exchange("GET", "/"+job.Bucket, query, nil, nil)
	if err != nil {
		return err
	}
	if err := answer.expect("LIST", 200); err != nil {
		return err
	}
	if found := bytes.Count(answer.body, []byte("<Key>")); int64(found) != job.Keys {
		return fmt.Errorf("a page has %d keys instead of %d", found, job.Keys)
	}
	return nil
}

func escaped(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// lock acquires a lock on a path of the client's own and releases it, through Lockstep's API.
func lock(c *Client, job *Job, _ int64) error {
	path := fmt.Sprintf("%s/%slock-%p", job.Bucket, job.Prefix, c)
	wanted, err := json.Marshal(map[string]any{"paths": []string{path}, "wait_seconds": 0})
	if err != nil {
		return err
	}
	answer, err := c.send("POST", c.plain(job, "POST", "/api/v1/locks"), wanted, nil)
	if err != nil {
		return err
	}
	if err := answer.expect("acquiring a lock", 200, 201); err != nil {
		return err
	}
	var granted struct {
		Lock struct {
			ID json.RawMessage `json:"id"`
		} `json:"lock"`
	}
	if err := json.Unmarshal(answer.body, &granted); err != nil {
		return err
	}
	id := strings.Trim(string(granted.Lock.ID), `"`)
	answer, err = c.send("DELETE", c.plain(job, "DELETE", "/api/v1/locks/"+id), nil, nil)
	if err != nil {
		return err
	}
	return answer.expect("releasing a lock", 200, 204)
}

// plain is the head of a request that an API key authenticates.
func (c *Client) plain(job *Job, method, path string) []byte {
	return []byte(method + " " + path + " HTTP/1.1\r\nHost: " + c.host + "\r\nX-Api-Key: " + job.APIKey +
		"\r\nContent-Type: application/json\r\n")
}
