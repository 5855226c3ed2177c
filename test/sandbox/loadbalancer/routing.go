package loadbalancer

import (
	"net"
	"net/http"
	"strings"

	googlecompute "google.golang.org/api/compute/v1"
)

// redirectCodes are the values of HttpRedirectAction.redirectResponseCode.
var redirectCodes = map[string]int{
	"": 301, "MOVED_PERMANENTLY_DEFAULT": 301, "FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308,
}

// redirectOf gives the status of a URL map that only redirects to HTTPS; zero when it does not.
func redirectOf(m *googlecompute.UrlMap) int {
	if m.DefaultUrlRedirect == nil || !m.DefaultUrlRedirect.HttpsRedirect {
		return 0
	}
	if code := redirectCodes[m.DefaultUrlRedirect.RedirectResponseCode]; code != 0 {
		return code
	}
	return http.StatusMovedPermanently
}

// route gives the link of the backend service for a request: the most specific host rule, then the
// longest path of its path matcher (cloud.google.com/load-balancing/docs/url-map-concepts).
func route(m *googlecompute.UrlMap, host, path string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	matcher, best := "", -1
	for _, rule := range m.HostRules {
		for _, pattern := range rule.Hosts {
			if rank := hostRank(strings.ToLower(pattern), host); rank > best {
				matcher, best = rule.PathMatcher, rank
			}
		}
	}
	for _, pm := range m.PathMatchers {
		if best >= 0 && pm.Name == matcher {
			return routePath(pm, path)
		}
	}
	return m.DefaultService
}

// hostRank is how specific a pattern matches; below zero it does not.
func hostRank(pattern, host string) int {
	switch {
	case pattern == host:
		return 1 << 16
	case pattern == "*":
		return 0
	case strings.HasPrefix(pattern, "*.") && strings.HasSuffix(host, pattern[1:]):
		return len(pattern)
	}
	return -1
}

func routePath(m *googlecompute.PathMatcher, path string) string {
	service, best := m.DefaultService, -1
	for _, rule := range m.PathRules {
		for _, pattern := range rule.Paths {
			prefix, wild := strings.CutSuffix(pattern, "*")
			matches := pattern == path || (wild && strings.HasPrefix(path, prefix))
			rank := 2 * len(prefix)
			if !wild {
				rank++ // an exact path wins over a prefix of the same length
			}
			if matches && rank > best {
				service, best = rule.Service, rank
			}
		}
	}
	return service
}
