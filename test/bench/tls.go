package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// certificate makes one of the kind that the gateway makes for itself, with its key, for nginx.
func (b *bench) certificate() (file string, err error) {
	file = filepath.Join(b.dir, "cert.pem")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	return file, os.WriteFile(file, text, 0o600)
}

// renew asks again and again over TLS, each time over a new connection: sessions are not resumed.
func renew(target string, connections int, d time.Duration) {
	end := time.Now().Add(d)
	var mu sync.Mutex
	var all []time.Duration
	var errors int64
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, //nolint:gosec // the bench's own
			}}
			for time.Now().Before(end) {
				start := time.Now()
				err := once(client, target)
				took := time.Since(start)
				mu.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					errors++
				}
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	tell(all, errors)
}

func once(client *http.Client, target string) error {
	res, err := client.Get(target)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
