package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

const (
	patience   = 60 * time.Second
	smallBody  = 64 << 10
	copyBuffer = 256 << 10
)

// Client is one kept TLS connection with one request at a time.
type Client struct {
	connection net.Conn
	reader     *bufio.Reader
	host       string
	signer     *signer
	content    []byte // the last content made, kept for its memory
	received   []byte
}

// Answer is a reply: its status, its headers, the length of its body, and the body itself where it was kept.
type Answer struct {
	status int
	header http.Header
	length int64
	body   []byte
}

// NewClient connects to endpoint, an https or http address without a path.
func NewClient(job *Job, endpoint string) (*Client, error) {
	address, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	connection, err := net.DialTimeout("tcp", address.Host, patience)
	if err != nil {
		return nil, err
	}
	if address.Scheme == "https" {
		authority, err := os.ReadFile(job.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(authority) {
			return nil, errors.New("no certificate in " + job.CAFile)
		}
		secured := tls.Client(connection, &tls.Config{RootCAs: roots, ServerName: address.Hostname()})
		if err := secured.Handshake(); err != nil {
			return nil, err
		}
		connection = secured
	}
	return &Client{
		connection: connection,
		reader:     bufio.NewReaderSize(connection, smallBody),
		host:       address.Host,
		signer:     newSigner(job),
		received:   make([]byte, copyBuffer),
	}, nil
}

// exchange sends a request and reads the whole answer. query must be in canonical form. Bodies of answers to get are
// only counted and handed to check piece by piece; others are kept.
func (c *Client) exchange(method, path, query string, body []byte, check func([]byte) error) (*Answer, error) {
	head := c.signer.head(method, c.host, path, query)
	return c.send(method, head, body, check)
}

func (c *Client) send(method string, head, body []byte, check func([]byte) error) (*Answer, error) {
	if err := c.connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if method == "PUT" || method == "POST" {
		head = append(head, "Content-Length: "...)
		head = strconv.AppendInt(head, int64(len(body)), 10)
		head = append(head, "\r\n"...)
	}
	head = append(head, "\r\n"...)
	if len(body) <= smallBody { // one write, one TLS record
		head, body = append(head, body...), nil
	}
	if _, err := c.connection.Write(head); err != nil {
		return nil, err
	}
	if len(body) > 0 {
		if _, err := c.connection.Write(body); err != nil {
			return nil, err
		}
	}
	reply, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	answer := &Answer{status: reply.StatusCode, header: reply.Header, length: reply.ContentLength}
	if check == nil || reply.StatusCode >= 300 {
		answer.body, err = io.ReadAll(reply.Body)
	} else {
		err = c.drain(reply.Body, answer, check)
	}
	if err == nil && reply.Close {
		err = errors.New("the server closes the connection after its answer")
	}
	return answer, err
}

func (c *Client) drain(body io.Reader, answer *Answer, check func([]byte) error) error {
	answer.length = 0
	for {
		count, err := body.Read(c.received)
		if count > 0 {
			answer.length += int64(count)
			if refused := check(c.received[:count]); refused != nil {
				return refused
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// expect is an error unless the answer has one of the statuses.
func (a *Answer) expect(what string, statuses ...int) error {
	for _, status := range statuses {
		if a.status == status {
			return nil
		}
	}
	return fmt.Errorf("%s was answered %d: %.300s", what, a.status, a.body)
}
