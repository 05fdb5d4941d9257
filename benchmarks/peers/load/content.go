package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
)

// keystream is the content of a key: AES-CTR under the run's seed. Nobody can compress it or find it anywhere else,
// and a reader can check it without having kept it.
func keystream(seed, key string) cipher.Stream {
	secret := sha256.Sum256([]byte(seed))
	start := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(secret[:16])
	if err != nil {
		panic(err) // 16 bytes are a valid key
	}
	return cipher.NewCTR(block, start[:16])
}

// fill returns the content of key, in memory that the next call uses again.
func (c *Client) fill(job *Job, key string) []byte {
	if cap(c.content) < job.Size {
		c.content = make([]byte, job.Size)
	}
	c.content = c.content[:job.Size]
	clear(c.content)
	keystream(job.Seed, key).XORKeyStream(c.content, c.content)
	return c.content
}

// checker returns a function that compares the first 4 KiB of what it is called with to the content of key. Comparing
// more would cost the generator as much as making large contents does.
func checker(job *Job, key string) func([]byte) error {
	want := make([]byte, min(job.Size, 4096))
	keystream(job.Seed, key).XORKeyStream(want, want)
	return func(piece []byte) error {
		count := min(len(piece), len(want))
		if !bytes.Equal(piece[:count], want[:count]) {
			return errors.New("wrong content of " + key)
		}
		want = want[count:]
		return nil
	}
}
