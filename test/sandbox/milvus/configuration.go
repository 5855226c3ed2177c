package milvus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// defaults are those keys of the image's own configs/milvus.yaml that matter from outside.
var defaults = map[string]string{
	"common.security.tlsMode":              "0",
	"common.security.authorizationEnabled": "false",
	"common.security.defaultRootPassword":  "Milvus",
	"proxy.port":                           "19530",
	"proxy.http.enabled":                   "true",
	"proxy.http.port":                      "",
	"proxy.grpc.serverMaxRecvSize":         "67108864",
	"proxy.grpc.serverMaxSendSize":         "268435456",
	"metrics.port":                         "9091",
	"minio.address":                        "localhost",
	"minio.bucketName":                     "a-bucket",
	"minio.rootPath":                       "files",
	"tls.serverPemPath":                    "configs/cert/server.pem",
	"tls.serverKeyPath":                    "configs/cert/server.key",
	"tls.caPemPath":                        "configs/cert/ca.pem",
}

// configuration is the effective one: milvus.yaml < default.yaml < user.yaml < environment.
type configuration struct {
	values   map[string]string // by formatted key
	warnings []string
}

// formatKey is how Milvus compares keys of files and environment (pkg/config/config.go).
func formatKey(key string) string {
	return strings.NewReplacer("/", "", "_", "", ".", "").Replace(strings.ToLower(key))
}

// readConfiguration reads the files below the folder and lays the environment over them.
func readConfiguration(dir string, env map[string]string) (*configuration, error) {
	c := &configuration{values: map[string]string{}}
	for k, v := range defaults {
		c.values[formatKey(k)] = v
	}
	for _, name := range []string{"default.yaml", "user.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		var tree map[string]any
		if err := yaml.Unmarshal(text, &tree); err != nil {
			return nil, fmt.Errorf("yaml: unmarshal errors in %s: %w", name, err)
		}
		c.take("", tree)
	}
	for k, v := range env {
		c.values[formatKey(k)] = v
	}
	return c, nil
}

func (c *configuration) take(prefix string, node any) {
	switch v := node.(type) {
	case map[string]any:
		for k, child := range v {
			if prefix != "" {
				k = prefix + "." + k
			}
			c.take(k, child)
		}
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = fmt.Sprint(p)
		}
		c.values[formatKey(prefix)] = strings.Join(parts, ",")
	case nil:
		c.values[formatKey(prefix)] = ""
	case float64:
		c.values[formatKey(prefix)] = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		c.values[formatKey(prefix)] = fmt.Sprint(v)
	}
}

func (c *configuration) text(key string) string { return c.values[formatKey(key)] }

// number gives 0 for what is none, as Milvus' GetAsInt does.
func (c *configuration) number(key string) int {
	n, err := strconv.Atoi(strings.TrimSpace(c.text(key)))
	if err != nil {
		return 0
	}
	return n
}

// truth gives false for what is none, as Milvus' GetAsBool does.
func (c *configuration) truth(key string) bool {
	b, err := strconv.ParseBool(strings.TrimSpace(c.text(key)))
	return err == nil && b
}
