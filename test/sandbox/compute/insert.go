package compute

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// quotaMetrics are the names of Google's project quotas (cloud.google.com/compute/resource-usage).
var quotaMetrics = map[string]string{
	"addresses": "STATIC_ADDRESSES", "backendServices": "BACKEND_SERVICES", "firewalls": "FIREWALLS", "forwardingRules": "FORWARDING_RULES",
	"healthChecks": "HEALTH_CHECKS", "networkEndpointGroups": "NETWORK_ENDPOINT_GROUPS", "sslCertificates": "SSL_CERTIFICATES",
	"sslPolicies": "SSL_POLICIES", "targetHttpProxies": "TARGET_HTTP_PROXIES", "targetHttpsProxies": "TARGET_HTTPS_PROXIES", "urlMaps": "URL_MAPS",
}

// KnownQuota reports whether a collection has a quota.
func KnownQuota(collection string) bool { return quotaMetrics[collection] != "" }

var resourceName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (s *Store) insert(version, scope, collection string, o Object) (any, *Error) {
	name, _ := o["name"].(string)
	if !resourceName.MatchString(name) {
		return nil, &Error{400, "invalid", fmt.Sprintf("Invalid value for field 'resource.name': '%s'. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'", name)}
	}
	key := scope + "/" + collection + "/" + name
	if s.objects[key] != nil {
		return nil, &Error{409, "alreadyExists", fmt.Sprintf("The resource 'projects/%s/%s' already exists", s.config.Project, key)}
	}
	if limit, ok := s.quotas[collection]; ok {
		count := 0
		for k := range s.objects {
			if collectionOf(k) == collection {
				count++
			}
		}
		if count >= limit {
			// Accepted and then failed: gke-managed-certs finds the code in the operation (pkg/clients/ssl/ssl.go).
			return s.failedOperation(version, scope, "insert", key, 403, "QUOTA_EXCEEDED",
				fmt.Sprintf("Quota '%s' exceeded.  Limit: %d.0 globally.", quotaMetrics[collection], limit)), nil
		}
	}
	if failure := s.checkReferences(o); failure != nil {
		return nil, failure
	}
	switch collection {
	case "forwardingRules":
		operation, failure := s.insertForwardingRule(version, scope, key, o)
		if operation != nil || failure != nil {
			return operation, failure
		}
	case "addresses":
		operation, failure := s.insertAddress(version, scope, key, o)
		if operation != nil || failure != nil {
			return operation, failure
		}
	case "sslCertificates":
		if failure := checkCertificate(o); failure != nil {
			return nil, failure
		}
	case "backendServices":
		if v, _ := o["timeoutSec"].(float64); v == 0 {
			o["timeoutSec"] = float64(30) // Google's default
		}
	case "networkEndpointGroups":
		o["size"] = 0
	case "healthChecks":
		if failure := checkHealthCheck(o); failure != nil {
			return nil, failure
		}
	}
	s.sequence++
	o["id"], o["kind"], o["selfLink"] = fmt.Sprint(s.sequence), "compute#"+kindOf(collection), s.link(version, key)
	o["creationTimestamp"], o["fingerprint"] = time.Now().Format(time.RFC3339Nano), fingerprint()
	if z, ok := strings.CutPrefix(scope, "zones/"); ok {
		o["zone"] = s.link(version, "zones/"+z)
	}
	if r, ok := strings.CutPrefix(scope, "regions/"); ok {
		o["region"] = s.link(version, "regions/"+r)
	}
	s.objects[key] = o
	s.changed()
	return s.operation(version, scope, "insert", key), nil
}

// checkReferences refuses links to objects that do not exist.
func (s *Store) checkReferences(o Object) *Error {
	check := func(v any) *Error {
		link, _ := v.(string)
		if link == "" || s.objects[KeyOf(link)] != nil {
			return nil
		}
		return s.notFound(KeyOf(link))
	}
	for _, field := range []string{"urlMap", "target", "defaultService", "sslPolicy"} {
		if failure := check(o[field]); failure != nil {
			return failure
		}
	}
	for _, field := range []string{"sslCertificates", "healthChecks"} {
		list, _ := o[field].([]any)
		for _, v := range list {
			if failure := check(v); failure != nil {
				return failure
			}
		}
	}
	return nil
}

// checkHealthCheck enforces the ranges of compute.googleapis.com HealthCheck.
func checkHealthCheck(o Object) *Error {
	number := func(field string, or float64) float64 {
		if v, ok := o[field].(float64); ok {
			return v
		}
		return or
	}
	for field, limit := range map[string]float64{"checkIntervalSec": 300, "timeoutSec": 300, "healthyThreshold": 10, "unhealthyThreshold": 10} {
		if v := number(field, 1); v < 1 || v > limit {
			return &Error{400, "invalid", fmt.Sprintf("Invalid value for field 'resource.%s': '%v'. Must be greater than or equal to 1 and less than or equal to %v", field, v, limit)}
		}
	}
	if timeout, interval := number("timeoutSec", 5), number("checkIntervalSec", 5); timeout > interval {
		return &Error{400, "invalid", fmt.Sprintf("Invalid value for field 'resource.timeoutSec': '%v'. TimeoutSec should be less than checkIntervalSec.", timeout)}
	}
	return nil
}

// insertForwardingRule settles the rule's address. Of its three results at most one is set apart from
// (nil, nil): an operation that failed, or a refusal.
func (s *Store) insertForwardingRule(version, scope, key string, o Object) (any, *Error) {
	address, _ := o["IPAddress"].(string)
	if a := s.objects[KeyOf(address)]; a != nil {
		address, _ = a["address"].(string)
	}
	if ports, _ := o["portRange"].(string); ports != "" && !strings.Contains(ports, "-") {
		o["portRange"] = ports + "-" + ports
	}
	if address == "" && s.config.NextAddress != nil {
		address = s.config.NextAddress()
	}
	o["IPAddress"] = address
	for _, k := range s.keys() {
		other := s.objects[k]
		if collectionOf(k) == "forwardingRules" && other["IPAddress"] == address && portsOverlap(other["portRange"], o["portRange"]) {
			// The wording of kubernetes-sigs' and GoogleCloudPlatform/k8s-multicluster-ingress#132.
			return nil, &Error{400, "invalid", fmt.Sprintf("Invalid value for field 'resource.IPAddress': '%s'. Specified IP address is in-use and would result in a conflict.", address)}
		}
	}
	if s.occupied[address] != "" {
		return s.addressInUse(version, scope, key, address), nil
	}
	return nil, nil
}

func (s *Store) insertAddress(version, scope, key string, o Object) (any, *Error) {
	address, _ := o["address"].(string)
	if address == "" {
		if s.config.NextAddress != nil {
			o["address"] = s.config.NextAddress()
		}
	} else {
		// An ephemeral address of a forwarding rule may be promoted; a reserved or foreign one may not.
		for _, k := range s.keys() {
			if collectionOf(k) == "addresses" && s.objects[k]["address"] == address {
				return s.addressInUse(version, scope, key, address), nil
			}
		}
		if s.occupied[address] != "" {
			return s.addressInUse(version, scope, key, address), nil
		}
	}
	if _, ok := o["addressType"]; !ok {
		o["addressType"] = "EXTERNAL"
	}
	if _, ok := o["ipVersion"]; !ok && scope == "global" {
		o["ipVersion"] = "IPV4"
	}
	o["networkTier"], o["status"] = "PREMIUM", "RESERVED"
	return nil, nil
}

// addressInUse is the wording of kubernetes/ingress-gce#2735.
func (s *Store) addressInUse(version, scope, key, address string) Object {
	return s.failedOperation(version, scope, "insert", key, 409, "IP_IN_USE_BY_ANOTHER_RESOURCE",
		fmt.Sprintf("IP '%s' is already being used by another resource.", address))
}

func portsOverlap(a, b any) bool {
	bounds := func(v any) (int, int) {
		text, _ := v.(string)
		low, high, ok := strings.Cut(text, "-")
		if !ok {
			high = low
		}
		l, errLow := strconv.Atoi(low)
		h, errHigh := strconv.Atoi(high)
		if errLow != nil || errHigh != nil {
			return 0, 65535
		}
		return l, h
	}
	al, ah := bounds(a)
	bl, bh := bounds(b)
	return al <= bh && bl <= ah
}
