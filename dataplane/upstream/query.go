package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// udpSize is what a server may send at once: it fits in one packet on all common networks.
const udpSize = 1232

// query asks the servers in turn for the records of a name. A name that is not there, or has
// no such records, is errNotFound.
func (c *resolvConf) query(ctx context.Context, name string, t dnsmessage.Type) (*dnsmessage.Message, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, errNotFound // no name can be that long
	}
	q := dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}
	err = errors.New("no name server is configured")
	for range c.attempts {
		for _, server := range c.servers {
			var m *dnsmessage.Message
			if m, err = c.exchange(ctx, server, q); err == nil {
				return m, nil
			}
			if isNotFound(err) || ctx.Err() != nil {
				return nil, err
			}
		}
	}
	return nil, err
}

func (c *resolvConf) exchange(ctx context.Context, server string, q dnsmessage.Question) (*dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	m, err := talk(ctx, "udp", server, q)
	if err == nil && m.Truncated {
		m, err = talk(ctx, "tcp", server, q)
	}
	if err != nil {
		return nil, fmt.Errorf("dns server %s: %w", server, err)
	}
	switch {
	case m.RCode == dnsmessage.RCodeNameError, m.RCode == dnsmessage.RCodeSuccess && len(m.Answers) == 0:
		return nil, errNotFound
	case m.RCode != dnsmessage.RCodeSuccess:
		return nil, fmt.Errorf("dns server %s: %s", server, strings.TrimPrefix(m.RCode.String(), "RCode"))
	}
	return m, nil
}

// talk sends one question and waits for its answer; what else comes is not heard.
func talk(ctx context.Context, network, server string, q dnsmessage.Question) (*dnsmessage.Message, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	id := uint16(rand.Uint32()) // the runtime's generator cannot be foreseen
	packed, err := pack(id, q)
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	for {
		raw, err := receive(conn, network)
		if err != nil {
			return nil, err
		}
		var m dnsmessage.Message
		if m.Unpack(raw) == nil && m.ID == id && m.Response && len(m.Questions) == 1 && sameQuestion(m.Questions[0], q) {
			return &m, nil
		}
		if network == "tcp" {
			return nil, errors.New("answer is malformed")
		}
	}
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

func pack(id uint16, q dnsmessage.Question) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAdditionals(); err != nil {
		return nil, err
	}
	var h dnsmessage.ResourceHeader
	if err := h.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	if err := b.OPTResource(h, dnsmessage.OPTResource{}); err != nil {
		return nil, err
	}
	return b.Finish()
}

func receive(conn net.Conn, network string) ([]byte, error) {
	if network != "tcp" {
		b := make([]byte, udpSize)
		n, err := conn.Read(b)
		return b[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}
