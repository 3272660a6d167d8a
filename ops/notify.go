package ops

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/smtp"
	"strings"
	"time"
)

// Webhook posts JSON: level, name, text, and a line in "text" as chat services take it.
type Webhook struct {
	URL    string
	Client *http.Client
}

// Notify implements Notifier.
func (w Webhook) Notify(ctx context.Context, subject, _ string, f Finding) error {
	body, err := json.Marshal(map[string]any{"text": subject, "level": f.Level.String(), "name": f.Name, "detail": f.Text, "value": f.Value})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := w.Client.Do(req)
	if err != nil {
		return plain(err) // the URL may carry a secret
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("webhook answers %s", res.Status)
	}
	return nil
}

// Mail sends by SMTP, with STARTTLS where the server offers it.
type Mail struct {
	Server   string // host:port
	From     string
	To       []string
	User     string // "": without authentication
	Password string
}

// Notify implements Notifier.
func (m Mail) Notify(ctx context.Context, subject, text string, _ Finding) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return fmt.Errorf("mail server: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return fmt.Errorf("mail server %s: %w", m.Server, err)
	}
	if err := m.send(c, host, subject, text); err != nil {
		return fmt.Errorf("mail server %s: %w", m.Server, err)
	}
	return nil
}

func (m Mail) send(c *smtp.Client, host, subject, text string) error {
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(tlsFor(host)); err != nil {
			return err
		}
	}
	if m.User != "" {
		if err := c.Auth(smtp.PlainAuth("", m.User, m.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.message(subject, text)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// message is the mail; a line break in a finding must not make a header.
func (m Mail) message(subject, text string) []byte {
	line := strings.NewReplacer("\r", " ", "\n", " ").Replace(subject)
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nDate: %s\r\nSubject: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n",
		m.From, strings.Join(m.To, ", "), time.Now().Format(time.RFC1123Z), line, strings.ReplaceAll(text, "\n", "\r\n"))
}

func tlsFor(host string) *tls.Config {
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
}
