package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// readyEndpoints returns how many pods of a Service are ready, by its EndpointSlices: what
// redistier's Replicas says without a Redis. The client trusts the cluster's authority, and
// api is https://kubernetes.default.svc. The token of the pod's service account, which is in
// /var/run/secrets/kubernetes.io/serviceaccount/token, is read each time, since it changes.
func readyEndpoints(ctx context.Context, client *http.Client, api, namespace, service, tokenFile string) (int, error) {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return 0, err
	}
	url := fmt.Sprintf("%s/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices?labelSelector=kubernetes.io/service-name=%s",
		api, namespace, service)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("EndpointSlices of %s: %s", service, res.Status)
	}
	var list struct {
		Items []struct {
			Endpoints []struct {
				TargetRef  struct{ UID string }
				Conditions struct {
					Ready *bool // nil counts as ready
				}
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 8<<20)).Decode(&list); err != nil {
		return 0, err
	}
	ready := make(map[string]bool) // a pod with two addresses is in two slices
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready[e.TargetRef.UID] = true
			}
		}
	}
	return len(ready), nil
}
