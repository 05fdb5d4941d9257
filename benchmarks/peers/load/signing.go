package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

const unsigned = "UNSIGNED-PAYLOAD" // TLS protects the body; hashing it would only cost the generator

// signer makes the heads of requests that are signed by AWS's Signature Version 4.
type signer struct {
	accessKey, secretKey, region string
	day                          string
	key                          []byte // of this day
}

func newSigner(job *Job) *signer {
	return &signer{accessKey: job.AccessKey, secretKey: job.SecretKey, region: job.Region}
}

func mac(key []byte, text string) []byte {
	code := hmac.New(sha256.New, key)
	code.Write([]byte(text))
	return code.Sum(nil)
}

// head returns the request line and the headers, without a length and without the empty line at the end.
func (s *signer) head(method, host, path, query string) []byte {
	moment := time.Now().UTC().Format("20060102T150405Z")
	if day := moment[:8]; day != s.day {
		s.key = []byte("AWS4" + s.secretKey)
		for _, word := range []string{day, s.region, "s3", "aws4_request"} {
			s.key = mac(s.key, word)
		}
		s.day = day
	}
	const names = "host;x-amz-content-sha256;x-amz-date"
	canonical := method + "\n" + path + "\n" + query + "\n" +
		"host:" + host + "\nx-amz-content-sha256:" + unsigned + "\nx-amz-date:" + moment + "\n\n" +
		names + "\n" + unsigned
	digest := sha256.Sum256([]byte(canonical))
	scope := s.day + "/" + s.region + "/s3/aws4_request"
	signature := mac(s.key, "AWS4-HMAC-SHA256\n"+moment+"\n"+scope+"\n"+hex.EncodeToString(digest[:]))
	target := path
	if query != "" {
		target += "?" + query
	}
	return []byte(method + " " + target + " HTTP/1.1\r\nHost: " + host +
		"\r\nx-amz-content-sha256: " + unsigned + "\r\nx-amz-date: " + moment +
		"\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + s.accessKey + "/" + scope +
		",SignedHeaders=" + names + ",Signature=" + hex.EncodeToString(signature) + "\r\n")
}
