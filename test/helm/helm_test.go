// Package helm lints and renders the chart of deploy/helm with Helm's own packages, reads what
// comes out as strictly as an API server does, and holds it to what the binary takes. It is a
// module of its own: what it needs is larger than the gateway.
package helm

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// kubernetes is the version that is rendered for.
var kubernetes = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}

const chartDir = "../../deploy/helm/sekifuda"

// least is what must be said.
func least() map[string]any {
	return map[string]any{
		"controlPlane": map[string]any{"database": map[string]any{"secret": "db"}, "adminTokens": map[string]any{"secret": "tokens"}},
		"dataPlane":    map[string]any{"joinToken": map[string]any{"secret": "join"}},
	}
}

// with is least with one more value at a path.
func with(path string, value any) map[string]any {
	v := least()
	at, words := v, strings.Split(path, ".")
	for _, w := range words[:len(words)-1] {
		next, _ := at[w].(map[string]any)
		if next == nil {
			next = map[string]any{}
			at[w] = next
		}
		at = next
	}
	at[words[len(words)-1]] = value
	return v
}

// variants are values that touch every branch of the templates.
var variants = map[string]map[string]any{
	"least":          least(),
	"blue and green": with("dataPlane.groups", []any{"blue", "green"}),
	"scaled":         with("dataPlane.autoscaling.enabled", true),
	"no nodes":       {"controlPlane": least()["controlPlane"], "dataPlane": map[string]any{"enabled": false}},
	"kek":            with("controlPlane.kek.secret", "kek"),
	"redis":          with("dataPlane.redis.url", "redis://r:6379/0"),
	"redis secret":   with("dataPlane.redis.secret", "redis"),
	"load balancer":  with("dataPlane.service.type", "LoadBalancer"),
	"settings":       with("dataPlane.env", map[string]any{"SEKI_CLIENT_MAX_BODY_BYTES": 10485760}),
	"trusted":        with("dataPlane.trustedIPs", "10.0.0.0/8"),
	"storage class":  with("dataPlane.storage.className", "fast"),
	"no pdb":         with("controlPlane.pdb.enabled", false),
	"pull secrets":   with("image.pullSecrets", []any{map[string]any{"name": "r"}}),
	"placed":         with("dataPlane.nodeSelector", map[string]any{"a": "b"}),
	"tolerant":       with("controlPlane.tolerations", []any{map[string]any{"key": "k", "operator": "Exists"}}),
	"annotated":      with("dataPlane.podAnnotations", map[string]any{"a": "b"}),
	"monitored":      with("serviceMonitor.enabled", true),
	"long name":      with("fullnameOverride", strings.Repeat("x", 60)),
}

// render returns the manifests by "Kind/name".
func render(t *testing.T, values map[string]any) (map[string]runtime.Object, error) {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = kubernetes
	v, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "gw", Namespace: "ns", IsInstall: true}, caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, v)
	if err != nil {
		return nil, err
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	all := map[string]runtime.Object{}
	for file, text := range files {
		if strings.HasSuffix(file, ".txt") {
			continue
		}
		for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
			if strings.TrimSpace(doc) == "" {
				continue
			}
			o, kind, err := strict.Decode([]byte(doc), nil, nil)
			if runtime.IsNotRegisteredError(err) { // a ServiceMonitor is none of Kubernetes' own
				o, kind, err = yaml.NewDecodingSerializer(unstructured.UnstructuredJSONScheme).Decode([]byte(doc), nil, nil)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", file, err, doc)
			}
			name := o.(metav1.Object).GetName()
			key := kind.Kind + "/" + name
			if all[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			if len(name) > 63 {
				t.Errorf("%s: a name has at most 63 characters", key)
			}
			all[key] = o
		}
	}
	return all, nil
}

// TestLint has Helm's linter find nothing, errors or warnings.
func TestLint(t *testing.T) {
	for name, values := range variants {
		for _, m := range lint.AllWithKubeVersion(chartDir, values, "ns", &kubernetes).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// pods are the pod templates of a set of manifests.
func pods(all map[string]runtime.Object) map[string]*corev1.PodTemplateSpec {
	found := map[string]*corev1.PodTemplateSpec{}
	for key, o := range all {
		switch o := o.(type) {
		case *appsv1.Deployment:
			found[key] = &o.Spec.Template
		case *appsv1.StatefulSet:
			found[key] = &o.Spec.Template
		case *corev1.Pod:
			found[key] = &corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		}
	}
	return found
}

var flagWord = regexp.MustCompile(`^--[a-z-]+$`)

// TestManifests reads every variant strictly, and holds pods to the binary, selectors to pods and
// probes to ports.
func TestManifests(t *testing.T) {
	help := map[string]string{}
	for _, verb := range []string{"controlplane", "dataplane", "status"} {
		cmd := exec.Command("go", "run", "./cmd/seki", verb, "--help")
		cmd.Dir = filepath.Join("..", "..")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("seki %s --help: %v\n%s", verb, err, out)
		}
		help[verb] = string(out)
	}
	for name, values := range variants {
		t.Run(name, func(t *testing.T) {
			all, err := render(t, values)
			if err != nil {
				t.Fatal(err)
			}
			templates := pods(all)
			for key, p := range templates {
				checkPod(t, key, p, help)
			}
			for key, o := range all {
				checkSelector(t, key, o, templates)
			}
		})
	}
}

func checkPod(t *testing.T, key string, p *corev1.PodTemplateSpec, help map[string]string) {
	t.Helper()
	c := p.Spec.Containers[0]
	text := help[c.Args[0]]
	for _, a := range c.Args {
		if flagWord.MatchString(a) && !strings.Contains(text, a+" ") {
			t.Errorf("%s: seki %s has no flag %s", key, c.Args[0], a)
		}
	}
	for _, e := range c.Env {
		if e.Name != "SEKI_KEK" && !strings.Contains(text, e.Name+")") {
			t.Errorf("%s sets %s, which seki %s does not read", key, e.Name, c.Args[0])
		}
	}
	s, sc := p.Spec.SecurityContext, c.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || sc == nil || !*sc.ReadOnlyRootFilesystem ||
		*sc.AllowPrivilegeEscalation || len(sc.Capabilities.Drop) != 1 || *p.Spec.AutomountServiceAccountToken {
		t.Errorf("%s does not keep to the restricted profile", key)
	}
	if strings.HasPrefix(key, "Pod/") {
		return
	}
	ports, mounts := map[string]bool{}, map[string]bool{}
	for _, port := range c.Ports {
		ports[port.Name] = true
	}
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if probe == nil {
			t.Errorf("%s: a probe is missing", key)
		} else if at := probe.HTTPGet; at != nil && !ports[at.Port.StrVal] || probe.TCPSocket != nil && !ports[probe.TCPSocket.Port.StrVal] {
			t.Errorf("%s: a probe asks a port that is not there", key)
		}
	}
	for _, v := range p.Spec.Volumes {
		mounts[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !mounts[m.Name] && m.Name != "data" {
			t.Errorf("%s mounts %s, which is no volume", key, m.Name)
		}
	}
	if *p.Spec.TerminationGracePeriodSeconds < 20 {
		t.Errorf("%s is killed before it has drained", key)
	}
}

// checkSelector has what selects pods select some.
func checkSelector(t *testing.T, key string, o runtime.Object, templates map[string]*corev1.PodTemplateSpec) {
	t.Helper()
	var want map[string]string
	switch o := o.(type) {
	case *corev1.Service:
		want = o.Spec.Selector
	case *policyv1.PodDisruptionBudget:
		want = o.Spec.Selector.MatchLabels
	case *appsv1.Deployment:
		want = o.Spec.Selector.MatchLabels
	case *appsv1.StatefulSet:
		want = o.Spec.Selector.MatchLabels
	case *autoscalingv2.HorizontalPodAutoscaler:
		if templates[o.Spec.ScaleTargetRef.Kind+"/"+o.Spec.ScaleTargetRef.Name] == nil {
			t.Errorf("%s scales what is not there", key)
		}
		return
	default:
		return
	}
	n := 0
	for _, p := range templates {
		if slices.Equal(sorted(want), sorted(overlap(p.Labels, want))) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%s selects the pods of %d, want 1", key, n)
	}
}

func overlap(have, want map[string]string) map[string]string {
	out := map[string]string{}
	for k := range want {
		if v, ok := have[k]; ok {
			out[k] = v
		}
	}
	return out
}

func sorted(m map[string]string) (all []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return all
}

// TestBadValues has the schema refuse what would not work, by its name.
func TestBadValues(t *testing.T) {
	for path, value := range map[string]any{
		"controlPlane.replicas":             0,
		"controlPlane.database":             map[string]any{"secret": "", "key": "url"},
		"controlPlane.adminTokens":          map[string]any{"secret": "", "key": "tokens"},
		"controlPlane.logLevel":             "loud",
		"controlPlane.databse":              "typo",
		"dataPlane.joinToken.secret":        "",
		"dataPlane.groups":                  []any{"Not A Name"},
		"dataPlane.storage.size":            "much",
		"dataPlane.service.http":            0,
		"dataPlane.env":                     map[string]any{"PATH": "/"},
		"dataPlane.redis.url":               "http://r",
		"dataPlane.autoscaling.maxReplicas": "ten",
		"image.pullPolicy":                  "Sometimes",
		"planet":                            "earth",
	} {
		_, err := render(t, with(path, value))
		named := slices.ContainsFunc(append(strings.Split(path, "."), "PATH"), func(word string) bool {
			return err != nil && strings.Contains(err.Error(), word)
		})
		if !named {
			t.Errorf("%s=%v: %v", path, value, err)
		}
	}
}
