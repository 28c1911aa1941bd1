package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// The types of the Kubernetes API as far as our manifests use them. A field that is not
// here is a mistake in the manifest, or has to be added here.
type (
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name   string
			Labels map[string]string
		}
		Spec     yaml.Node
		Rules    []rule
		RoleRef  reference `yaml:"roleRef"`
		Subjects []reference
	}
	rule struct {
		APIGroups []string `yaml:"apiGroups"`
		Resources []string
		Verbs     []string
	}
	reference struct {
		APIGroup   string `yaml:"apiGroup"`
		Kind, Name string
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	deployment struct {
		Replicas        int
		MinReadySeconds int `yaml:"minReadySeconds"`
		Strategy        struct {
			Type          string
			RollingUpdate struct {
				MaxSurge       int `yaml:"maxSurge"`
				MaxUnavailable int `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		}
		Selector selector
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				ServiceAccountName string `yaml:"serviceAccountName"`
				Grace              int    `yaml:"terminationGracePeriodSeconds"`
				Containers         []container
			}
		}
	}
	container struct {
		Name, Image string
		Args        []string
		Env         []struct {
			Name      string
			ValueFrom struct {
				FieldRef struct {
					FieldPath string `yaml:"fieldPath"`
				} `yaml:"fieldRef"`
				SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
			} `yaml:"valueFrom"`
		}
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Readiness probe `yaml:"readinessProbe"`
		Liveness  probe `yaml:"livenessProbe"`
		Lifecycle struct {
			PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
		}
		Resources struct{ Requests, Limits map[string]string }
	}
	probe struct {
		HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
		TCPSocket        struct{ Port string }       `yaml:"tcpSocket"`
		PeriodSeconds    int                         `yaml:"periodSeconds"`
		FailureThreshold int                         `yaml:"failureThreshold"`
	}
	service struct {
		Selector map[string]string
		Ports    []struct {
			Name       string
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
	}
	disruptions struct {
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       selector
	}
)

// kinds are the versions in which Kubernetes has each kind.
var kinds = map[string]string{
	"Deployment": "apps/v1", "Service": "v1", "PodDisruptionBudget": "policy/v1", "ServiceAccount": "v1",
	"Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1",
}

// strict decodes node without a field that v does not know.
func strict(t *testing.T, node *yaml.Node, v any) {
	t.Helper()
	text, err := yaml.Marshal(node)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "spec.yaml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	require.NoError(t, d.Decode(v))
}

func TestManifests(t *testing.T) {
	if _, err := os.Stat("../../docs/KUBERNETES.md"); errors.Is(err, os.ErrNotExist) {
		t.Skip("the manifests are not here: they are in docs/kubernetes of the repository")
	}
	files, err := filepath.Glob("../../docs/kubernetes/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 3)
	deployments := make(map[string]deployment)
	services := make(map[string]service)
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		d := yaml.NewDecoder(f)
		d.KnownFields(true)
		for {
			var o object
			err := d.Decode(&o)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
			require.NotEmpty(t, o.Metadata.Name, name)
			require.Equal(t, kinds[o.Kind], o.APIVersion, "%s: %s", name, o.Kind)
			switch o.Kind {
			case "Deployment":
				var spec deployment
				strict(t, &o.Spec, &spec)
				deployments[o.Metadata.Name] = spec
			case "Service":
				var spec service
				strict(t, &o.Spec, &spec)
				services[o.Metadata.Name] = spec
			case "PodDisruptionBudget":
				strict(t, &o.Spec, new(disruptions))
			}
		}
	}
	for name, d := range deployments {
		require.Equal(t, d.Selector.MatchLabels, d.Template.Metadata.Labels, name)
		require.Equal(t, d.Selector.MatchLabels, services[name].Selector, name)
		ports := make(map[string]bool)
		for _, p := range d.Template.Spec.Containers[0].Ports {
			ports[p.Name] = true
		}
		for _, p := range services[name].Ports {
			require.True(t, ports[p.TargetPort], "%s: no port %s", name, p.TargetPort)
		}
		ready := d.Template.Spec.Containers[0].Readiness
		require.True(t, ports[ready.HTTPGet.Port+ready.TCPSocket.Port], name)
	}
	server := deployments["agent-server"]
	pod := server.Template.Spec
	require.Greater(t, pod.Grace, pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds+server.MinReadySeconds,
		"the time to drain, after preStop")
	require.Zero(t, server.Strategy.RollingUpdate.MaxUnavailable)
}

func TestReadyEndpoints(t *testing.T) {
	answer := `{"items": [
		{"endpoints": [
			{"targetRef": {"uid": "a"}, "conditions": {"ready": true}},
			{"targetRef": {"uid": "b"}, "conditions": {}},
			{"targetRef": {"uid": "c"}, "conditions": {"ready": false}}]},
		{"endpoints": [{"targetRef": {"uid": "a"}, "conditions": {"ready": true}}]}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the token" || r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/here/endpointslices" ||
			r.URL.Query().Get("labelSelector") != "kubernetes.io/service-name=agent-server" {
			http.Error(w, r.URL.String(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the token\n"), 0o600))
	n, err := readyEndpoints(t.Context(), srv.Client(), srv.URL, "here", "agent-server", token)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, err = readyEndpoints(t.Context(), srv.Client(), srv.URL, "there", "agent-server", token)
	require.ErrorContains(t, err, "403")
	_, err = readyEndpoints(t.Context(), srv.Client(), srv.URL, "here", "agent-server", token+".gone")
	require.Error(t, err)
	srv.CloseClientConnections()
	http.DefaultClient.CloseIdleConnections()
}
