package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/ops"
)

func adminAnswers(_ context.Context, p *patient) result {
	if p.reading.AdminError != "" {
		return ill(ops.Critical, "start it: seki run, or seki controlplane; its log says why it ended", "Admin API does not answer at %s: %s", p.Stack.Admin, p.reading.AdminError)
	}
	return well("Admin API answers")
}

func proxyAnswers(_ context.Context, p *patient) result {
	if p.reading.ProxyError != "" {
		return ill(ops.Critical, "start the node; its log says why it ended", "proxy does not answer at %s: %s", p.Stack.Proxy, p.reading.ProxyError)
	}
	return well("proxy answers")
}

func nodesAnswer(_ context.Context, p *patient) result {
	for node, why := range p.reading.Away {
		return ill(ops.Critical, "start the node, or correct --nodes", "node at %s does not answer: %s", node, why)
	}
	return well("%d nodes answer", len(p.reading.Nodes))
}

// fleet reads the nodes that the control plane knows.
func (p *patient) fleet(ctx context.Context) ([]ops.Entity, *result) {
	return p.list(ctx, "clustering/data-planes")
}

func nodesCurrent(ctx context.Context, p *patient) result {
	nodes, bad := p.fleet(ctx)
	if bad != nil {
		return *bad
	}
	var behind, gone []ops.Entity
	for _, n := range nodes {
		switch {
		case n["connected"] != true:
			gone = append(gone, n)
		case n["revision"] != n["target_revision"]:
			behind = append(behind, n)
		}
	}
	switch {
	case len(gone) > 0:
		return ill(ops.Warning, "look at the node's log; a node that was taken away is forgotten after a day", "not connected: %s", names(gone, label))
	case len(behind) > 0:
		return ill(ops.Warning, "seki nodes shows what they refused", "not at their target revision: %s", names(behind, label))
	}
	return well("%d nodes run their target revision", len(nodes))
}

func nodesRefuse(ctx context.Context, p *patient) result {
	nodes, bad := p.fleet(ctx)
	if bad != nil {
		return *bad
	}
	for _, n := range nodes {
		if s := n.Text("sync_status"); s != "" && s != "normal" {
			return ill(ops.Critical, "seki nodes names the object; correct it, or seki revert the revision", "node %s refuses its revision", label(n))
		}
	}
	return well("no node refuses its revision")
}

func nodesOneVersion(ctx context.Context, p *patient) result {
	nodes, bad := p.fleet(ctx)
	if bad != nil {
		return *bad
	}
	versions := map[string]bool{}
	for _, n := range nodes {
		versions[n.Text("version")] = true
	}
	if len(versions) > 1 {
		return ill(ops.Warning, "finish the upgrade", "nodes run %d versions", len(versions))
	}
	return well("all nodes run one version")
}

// recent is how far back the alert log is looked at.
const recent = 24 * time.Hour

func alertLog(_ context.Context, p *patient) result {
	if p.AlertLog == "" {
		return skip("no alert log is named")
	}
	raw, err := os.ReadFile(p.AlertLog)
	if os.IsNotExist(err) {
		return well("the alert log is empty")
	}
	if err != nil {
		return ill(ops.Warning, "let this user read it", "the alert log cannot be read: %v", err)
	}
	n, last := 0, ""
	for line := range strings.Lines(string(raw)) {
		at, err := time.ParseInLocation(time.DateTime, line[:min(len(line), len(time.DateTime))], time.Local)
		if err == nil && p.Now().Sub(at) < recent && strings.Contains(line, "[CRITICAL]") {
			n++
			last = strings.TrimSpace(line)
		}
	}
	if n > 0 {
		return ill(ops.Warning, "read "+p.AlertLog, "%d critical alerts in the last day, the last: %s", n, last)
	}
	return well("no critical alert in the last day")
}

func targetsHealthy(ctx context.Context, p *patient) result {
	upstreams, bad := p.list(ctx, "upstreams")
	if bad != nil {
		return *bad
	}
	for _, u := range upstreams {
		targets, err := p.Stack.List(ctx, "/upstreams/"+u.Text("id")+"/health")
		if err != nil {
			return skip("health cannot be read: %v", err)
		}
		for _, t := range targets {
			if h := t.Text("health"); h == "UNHEALTHY" || h == "DNS_ERROR" {
				return ill(ops.Critical, "look at the target; /upstreams/"+label(u)+"/health shows all", "target %s of upstream %s is %s", t.Text("target"), label(u), h)
			}
		}
	}
	return well("no target of %d upstreams is unhealthy", len(upstreams))
}

// expiresSoon is before how long a certificate's end is told.
const (
	expiresSoon = 30 * 24 * time.Hour
	expiresNow  = 7 * 24 * time.Hour
)

func certificatesValid(ctx context.Context, p *patient) result {
	all, bad := p.list(ctx, "certificates")
	if bad != nil {
		return *bad
	}
	for _, c := range all {
		block, _ := pem.Decode([]byte(c.Text("cert")))
		if block == nil {
			continue // a reference to a vault
		}
		x, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return ill(ops.Critical, "replace it", "certificate %s cannot be read: %v", label(c), err)
		}
		left := x.NotAfter.Sub(p.Now())
		level := ops.OK
		switch {
		case left < expiresNow:
			level = ops.Critical
		case left < expiresSoon:
			level = ops.Warning
		}
		if level != ops.OK {
			return ill(level, "put a new one: PUT /certificates/"+c.Text("id"), "certificate of %s ends %s", x.Subject.CommonName, x.NotAfter.Format(time.DateOnly))
		}
	}
	return well("%d certificates are valid for more than %d days", len(all), int(expiresSoon.Hours()/24))
}
