package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// replicaAddress is where the other control planes on a database reach this one's feed: as said,
// or where it listens. Of a feed that listens everywhere it is the address by which this machine
// reaches the database. Empty: nowhere.
func replicaAddress(said string, feed net.Listener, databaseURL string) (string, error) {
	if said != "" {
		host, port, err := net.SplitHostPort(said)
		if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" {
			return "", fmt.Errorf("--replica-address %q: expected HOST:PORT", said)
		}
		return said, nil
	}
	if feed == nil {
		return "", nil
	}
	addr, ok := feed.Addr().(*net.TCPAddr)
	if !ok {
		return "", nil
	}
	if !addr.IP.IsUnspecified() {
		return addr.String(), nil
	}
	config, err := pgconn.ParseConfig(databaseURL)
	if err != nil {
		return "", fmt.Errorf("--database-url: %w", err)
	}
	// Connecting a socket of datagrams sends nothing; it finds the way.
	c, err := net.Dial("udp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))))
	if err != nil { // a socket in the file system, or a name that is not known now
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.Port)), nil
	}
	defer c.Close()
	return net.JoinHostPort(c.LocalAddr().(*net.UDPAddr).IP.String(), strconv.Itoa(addr.Port)), nil
}
