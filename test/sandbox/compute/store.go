// Package compute stands in for the Compute Engine API and its metadata server: a store of JSON
// objects that answers with the verbs, links, operations and errors that GKE's controllers and gcloud
// rely on. It knows global, regional and zonal collections.
//
// It does not page lists and understands filters of one clause, which is all that its callers send.
package compute

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Object is a Compute resource in its JSON form.
type Object = map[string]any

// Error is a refusal as the Compute API words it.
type Error struct {
	// Code is the HTTP status.
	Code int
	// Reason is errors[0].reason of Google's error body, such as "notFound".
	Reason  string
	Message string
}

// Error gives the message.
func (e *Error) Error() string {
	return fmt.Sprintf("googleapi: Error %d: %s, %s", e.Code, e.Message, e.Reason)
}

// HealthState is what the health checks found for one endpoint of a backend service.
type HealthState struct {
	Address string
	Port    int64
	// State is HEALTHY or UNHEALTHY.
	State string
}

// Config says what the store stands for.
type Config struct {
	Project string
	Region  string
	Zones   []string
	// NextAddress gives the address of a new load balancer.
	NextAddress func() string
}

// Store holds every resource of the project.
type Store struct {
	config Config

	mu         sync.RWMutex
	objects    map[string]Object   // by key, such as "global/urlMaps/x"
	members    map[string][]Object // endpoints of a NEG, instances of an instance group
	operations map[string]Object
	quotas     map[string]int    // by collection
	occupied   map[string]string // address to who uses it outside this store
	calls      map[string]int    // "POST urlMaps" to how often
	sequence   uint64
	version    uint64
	snapshot   *Snapshot
	listeners  []chan struct{}
	health     func(backendService, group string) []HealthState
}

// NewStore makes an empty store with the project's default network.
func NewStore(config Config) *Store {
	s := &Store{
		config: config, objects: map[string]Object{}, members: map[string][]Object{}, operations: map[string]Object{},
		quotas: map[string]int{}, occupied: map[string]string{}, calls: map[string]int{}, sequence: 1000000,
	}
	s.put("global/networks/default", Object{"kind": "compute#network", "autoCreateSubnetworks": true})
	s.put("regions/"+config.Region+"/subnetworks/default", Object{
		"kind": "compute#subnetwork", "network": s.link("v1", "global/networks/default"), "ipCidrRange": "10.128.0.0/20",
	})
	return s
}

// SetHealth gives the store the source of endpoint health.
func (s *Store) SetHealth(health func(backendService, group string) []HealthState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = health
}

// SetQuota limits how many objects a collection may hold, such as "sslCertificates"; a negative limit removes the quota.
func (s *Store) SetQuota(collection string, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit < 0 {
		delete(s.quotas, collection)
		return
	}
	s.quotas[collection] = limit
}

// Occupy marks an address as used by something other than a global forwarding rule; an empty user frees it.
func (s *Store) Occupy(address, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user == "" {
		delete(s.occupied, address)
		return
	}
	s.occupied[address] = user
}

// Calls counts the calls so far by method and collection, such as "POST urlMaps".
func (s *Store) Calls() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.calls)
}

// AddInstance puts a virtual machine of a node into the first zone.
func (s *Store) AddInstance(name, address, podRange string, tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	zone := s.config.Zones[0]
	s.put("zones/"+zone+"/instances/"+name, Object{
		"kind": "compute#instance", "status": "RUNNING", "zone": s.link("v1", "zones/"+zone), "tags": Object{"items": tags},
		"networkInterfaces": []Object{{
			"name": "nic0", "networkIP": address, "network": s.link("v1", "global/networks/default"),
			"subnetwork":    s.link("v1", "regions/"+s.config.Region+"/subnetworks/default"),
			"aliasIpRanges": []Object{{"ipCidrRange": podRange}},
		}},
	})
}

// Edit changes a copy of an object and stores it; it reports whether there was one.
func (s *Store) Edit(key string, change func(Object)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	if o == nil {
		return false
	}
	c := deepCopy(o)
	change(c)
	s.objects[key] = c
	s.changed()
	return true
}

// Objects is a deep copy of all objects by key, as the API would show them: without private keys.
func (s *Store) Objects() map[string]Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[string]Object{}
	for key, o := range s.objects {
		c := deepCopy(s.present(key, o))
		if m := s.members[key]; m != nil {
			c["members"] = deepCopy(Object{"m": m})["m"]
		}
		out[key] = c
	}
	return out
}

// Changed gives a channel that holds a value whenever something changed since it was last read.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{}, 1)
	c <- struct{}{}
	s.listeners = append(s.listeners, c)
	return c
}

func (s *Store) changed() {
	s.version++
	for _, l := range s.listeners {
		select {
		case l <- struct{}{}:
		default:
		}
	}
}

func (s *Store) put(key string, o Object) {
	s.sequence++
	o["id"], o["name"], o["selfLink"] = fmt.Sprint(s.sequence), lastSegment(key), s.link("v1", key)
	o["creationTimestamp"] = time.Now().Format(time.RFC3339)
	s.objects[key] = o
	s.changed()
}

// link is the full URL of a key; controllers compare these texts, so they name Google's host.
func (s *Store) link(version, key string) string {
	return "https://www.googleapis.com/compute/" + version + "/projects/" + s.config.Project + "/" + key
}

// KeyOf turns a full or partial link into a store key.
func KeyOf(link string) string {
	if i := strings.Index(link, "/projects/"); i >= 0 {
		link = link[i+1:]
	}
	if rest, ok := strings.CutPrefix(link, "projects/"); ok {
		_, link, _ = strings.Cut(rest, "/")
	}
	return link
}

func lastSegment(link string) string { return link[strings.LastIndex(link, "/")+1:] }

func (s *Store) keys() []string { return slices.Sorted(maps.Keys(s.objects)) }

// present is an object as the API shows it: with what is computed, without what is never read back.
func (s *Store) present(key string, o Object) Object {
	switch collectionOf(key) {
	case "sslCertificates":
		c := maps.Clone(o)
		delete(c, "privateKey")
		return c
	case "addresses":
		c := maps.Clone(o)
		var users []string
		for _, k := range s.keys() {
			if collectionOf(k) == "forwardingRules" && s.objects[k]["IPAddress"] == o["address"] {
				users = append(users, s.link("v1", k))
			}
		}
		address, _ := o["address"].(string)
		if user := s.occupied[address]; user != "" {
			users = append(users, user)
		}
		c["status"] = "RESERVED"
		if len(users) > 0 {
			c["status"], c["users"] = "IN_USE", users
		}
		return c
	}
	return o
}

func collectionOf(key string) string {
	parts := strings.Split(key, "/")
	if len(parts) < 2 {
		return ""
	}
	return parts[len(parts)-2]
}

// user names the object that refers to key, if any.
func (s *Store) user(key string) string {
	if collectionOf(key) == "addresses" {
		for _, k := range s.keys() {
			if collectionOf(k) == "forwardingRules" && s.objects[k]["IPAddress"] == s.objects[key]["address"] {
				return k
			}
		}
	}
	for _, k := range s.keys() {
		if k != key && refersTo(s.objects[k], key) {
			return k
		}
	}
	return ""
}

func refersTo(v any, key string) bool {
	switch v := v.(type) {
	case string:
		return strings.HasSuffix(v, "/"+key)
	case Object:
		for name, x := range v {
			if name != "selfLink" && refersTo(x, key) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return refersTo(x, key) })
	case []Object:
		return slices.ContainsFunc(v, func(x Object) bool { return refersTo(x, key) })
	}
	return false
}

func deepCopy(o Object) Object {
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("an object of the store is not JSON: %v", err))
	}
	c := Object{}
	if err := json.Unmarshal(b, &c); err != nil {
		panic(fmt.Sprintf("an object of the store is not JSON: %v", err))
	}
	return c
}

func fingerprint() string {
	b := make([]byte, 8)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// kindOf is the singular of a collection's name, as in "compute#urlMap".
func kindOf(collection string) string {
	for _, p := range []string{"Proxies", "Policies"} {
		if strings.HasSuffix(collection, p) {
			return strings.TrimSuffix(collection, "ies") + "y"
		}
	}
	if collection == "addresses" {
		return "address"
	}
	return strings.TrimSuffix(collection, "s")
}

var filterClause = regexp.MustCompile(`^\(?\s*(\w+)\s*(eq|=|ne|!=)\s*"?([^")]*)"?\s*\)?$`)

// filtered applies a filter of one clause; any other filter passes everything.
func filtered(objects []Object, filter string) []Object {
	if filter == "" {
		return objects
	}
	m := filterClause.FindStringSubmatch(filter)
	if m == nil {
		return objects
	}
	pattern, err := regexp.Compile("^(?:" + m[3] + ")$")
	if err != nil {
		return objects
	}
	out := []Object{}
	for _, o := range objects {
		v := fmt.Sprint(o[m[1]])
		if (pattern.MatchString(v) || v == m[3]) == (m[2] == "eq" || m[2] == "=") {
			out = append(out, o)
		}
	}
	return out
}
