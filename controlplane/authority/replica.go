package authority

import (
	"crypto/tls"
	"crypto/x509"
	"strings"

	"google.golang.org/grpc/credentials"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// controlPlane is the path of the name that every control plane of a cluster has.
const controlPlane = "controlplane"

// betweenReplicas is how the methods begin that control planes alone may call.
var betweenReplicas = "/" + controlv1.ReplicaService_ServiceDesc.ServiceName + "/"

// ReplicaCredentials are those by which one control plane calls another's feed: both prove by the
// cluster's authority that they are control planes.
func (a *Authority) ReplicaCredentials() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		// Replicas are found in the database and have no names of hosts: who is there is proven
		// by VerifyConnection.
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection: func(s tls.ConnectionState) error {
			return a.replica(s.PeerCertificates, x509.ExtKeyUsageServerAuth)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return a.serverCertificate() },
	})
}

var errNoReplica = refuse("only control planes of this cluster may ask this")

// replica tells whether a chain is a control plane's of this cluster, good now and for the use.
func (a *Authority) replica(chain []*x509.Certificate, use x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errNoReplica
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.current().roots(), KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: a.Now(),
	})
	if err != nil {
		return refuse("control plane: %v", err)
	}
	if u := chain[0].URIs; len(u) != 1 || u[0].String() != a.uri(controlPlane).String() {
		return errNoReplica
	}
	return nil
}

// admitReplica tells whether a connection is a control plane's. It is noted, to be cut when the
// authority that its certificate is of is forgotten: the next one shows another certificate.
func (a *Authority) admitReplica(info *authInfo) error {
	if err := a.replica(info.State.PeerCertificates, x509.ExtKeyUsageClientAuth); err != nil {
		return err
	}
	a.lines.name(info.line, "/"+controlPlane) // no node is called so
	return nil
}

// forReplicas reports whether a method is between control planes.
func forReplicas(method string) bool { return strings.HasPrefix(method, betweenReplicas) }
