// Package loop maps cluster addresses to loopback ones.
//
// The API server refuses loopback addresses in EndpointSlices (k8s.io/kubernetes
// pkg/apis/core/validation ValidateNonSpecialIP), so pods and nodes carry addresses of 10.0.0.0/8
// and everything that listens or dials uses the matching address of 127.0.0.0/8. No network
// set-up is needed for that.
package loop

import "strings"

// Address gives the loopback address behind a cluster address: 10.8.0.5 becomes 127.8.0.5.
// Any other address is given back unchanged.
func Address(ip string) string {
	if rest, ok := strings.CutPrefix(ip, "10."); ok {
		return "127." + rest
	}
	return ip
}
