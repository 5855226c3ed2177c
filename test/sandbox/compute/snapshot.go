package compute

import (
	"encoding/json"
	"fmt"

	googlecompute "google.golang.org/api/compute/v1"
)

// Snapshot is a consistent, typed copy of what the load balancer and the health checks need. It is
// never changed once made. The maps are keyed by name for global objects.
type Snapshot struct {
	Version            uint64
	ForwardingRules    map[string]*googlecompute.ForwardingRule
	TargetHTTPProxies  map[string]*googlecompute.TargetHttpProxy
	TargetHTTPSProxies map[string]*googlecompute.TargetHttpsProxy
	URLMaps            map[string]*googlecompute.UrlMap
	BackendServices    map[string]*googlecompute.BackendService
	HealthChecks       map[string]*googlecompute.HealthCheck
	// SSLCertificates hold their private keys, which the API never gives back.
	SSLCertificates map[string]*googlecompute.SslCertificate
	SSLPolicies     map[string]*googlecompute.SslPolicy

	endpoints map[string][]*googlecompute.NetworkEndpoint // by NEG key
	groups    map[string]*googlecompute.InstanceGroup
	instances map[string][]string // instance group key to instance keys
	machines  map[string]*googlecompute.Instance
}

// Endpoint is one place that a backend service sends requests to.
type Endpoint struct {
	// Group is the name of the NEG or instance group.
	Group string
	// Address is a cluster address, such as 10.8.0.5.
	Address string
	Port    int64
}

// Version counts the changes so far.
func (s *Store) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// Snapshot is the state at this moment; it is made once for each version.
func (s *Store) Snapshot() (*Snapshot, error) {
	s.mu.RLock()
	if n := s.snapshot; n != nil && n.Version == s.version {
		s.mu.RUnlock()
		return n, nil
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot != nil && s.snapshot.Version == s.version {
		return s.snapshot, nil
	}
	n := &Snapshot{Version: s.version, instances: map[string][]string{}, endpoints: map[string][]*googlecompute.NetworkEndpoint{}}
	err := firstError(
		collect(s, "forwardingRules", lastSegment, &n.ForwardingRules),
		collect(s, "targetHttpProxies", lastSegment, &n.TargetHTTPProxies),
		collect(s, "targetHttpsProxies", lastSegment, &n.TargetHTTPSProxies),
		collect(s, "urlMaps", lastSegment, &n.URLMaps),
		collect(s, "backendServices", lastSegment, &n.BackendServices),
		collect(s, "healthChecks", lastSegment, &n.HealthChecks),
		collect(s, "sslCertificates", lastSegment, &n.SSLCertificates),
		collect(s, "sslPolicies", lastSegment, &n.SSLPolicies),
		collect(s, "instanceGroups", KeyOf, &n.groups),
		collect(s, "instances", KeyOf, &n.machines),
	)
	for key, list := range s.members {
		for _, m := range list {
			if instance, ok := m["instance"].(string); ok && collectionOf(key) == "instanceGroups" {
				n.instances[key] = append(n.instances[key], KeyOf(instance))
				continue
			}
			e := &googlecompute.NetworkEndpoint{}
			err = firstError(err, decode(m, e))
			n.endpoints[key] = append(n.endpoints[key], e)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Compute objects: %w", err)
	}
	s.snapshot = n
	return n, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func decode(from Object, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

func collect[T any](s *Store, collection string, name func(string) string, into *map[string]*T) error {
	*into = map[string]*T{}
	for key, o := range s.objects {
		if collectionOf(key) != collection {
			continue
		}
		v := new(T)
		if err := decode(o, v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		(*into)[name(key)] = v
	}
	return nil
}

// Endpoints lists where a backend service's requests may go, whatever their health.
func (n *Snapshot) Endpoints(service *googlecompute.BackendService) []Endpoint {
	var out []Endpoint
	for _, backend := range service.Backends {
		key := KeyOf(backend.Group)
		for _, e := range n.endpoints[key] {
			out = append(out, Endpoint{Group: lastSegment(key), Address: e.IpAddress, Port: e.Port})
		}
		group := n.groups[key]
		if group == nil {
			continue
		}
		port := service.Port
		for _, named := range group.NamedPorts {
			if named.Name == service.PortName {
				port = named.Port
			}
		}
		for _, instance := range n.instances[key] {
			if m := n.machines[instance]; m != nil && len(m.NetworkInterfaces) > 0 {
				out = append(out, Endpoint{Group: lastSegment(key), Address: m.NetworkInterfaces[0].NetworkIP, Port: port})
			}
		}
	}
	return out
}

// Name is the last part of a resource's link.
func Name(link string) string { return lastSegment(link) }
