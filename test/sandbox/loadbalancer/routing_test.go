package loadbalancer

import (
	"testing"

	googlecompute "google.golang.org/api/compute/v1"
)

func TestRoute(t *testing.T) {
	m := &googlecompute.UrlMap{
		DefaultService: "default",
		HostRules: []*googlecompute.HostRule{
			{Hosts: []string{"milvus.example.com"}, PathMatcher: "milvus"},
			{Hosts: []string{"*.example.com"}, PathMatcher: "wild"},
		},
		PathMatchers: []*googlecompute.PathMatcher{
			{Name: "milvus", DefaultService: "default", PathRules: []*googlecompute.PathRule{
				{Paths: []string{"/*"}, Service: "milvus"}, {Paths: []string{"/metrics"}, Service: "metrics"}, {Paths: []string{"/a/*"}, Service: "a"},
			}},
			{Name: "wild", DefaultService: "wild"},
		},
	}
	for _, c := range []struct{ host, path, want string }{
		{"milvus.example.com", "/milvus.proto.milvus.MilvusService/GetVersion", "milvus"},
		{"milvus.example.com:443", "/", "milvus"},
		{"MILVUS.example.com", "/metrics", "metrics"},
		{"milvus.example.com", "/a/b", "a"},
		{"milvus.example.com", "/a", "milvus"},
		{"other.example.com", "/", "wild"},
		{"example.com", "/", "default"},
		{"127.20.0.1", "/", "default"},
	} {
		if got := route(m, c.host, c.path); got != c.want {
			t.Errorf("route(%s, %s) = %s, want %s", c.host, c.path, got, c.want)
		}
	}
}

func TestRedirect(t *testing.T) {
	for code, want := range map[string]int{"": 301, "FOUND": 302, "PERMANENT_REDIRECT": 308} {
		m := &googlecompute.UrlMap{DefaultUrlRedirect: &googlecompute.HttpRedirectAction{HttpsRedirect: true, RedirectResponseCode: code}}
		if got := redirectOf(m); got != want {
			t.Errorf("%q gives %d, want %d", code, got, want)
		}
	}
	if redirectOf(&googlecompute.UrlMap{}) != 0 {
		t.Error("a map without redirect redirects")
	}
}
