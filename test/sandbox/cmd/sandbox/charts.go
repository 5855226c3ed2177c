package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// serveCharts serves the chart repository that build.mjs packaged, and makes it known to Helm under the name
// milvus, index included, so that helm search works before the first helm repo update.
func (s *sandbox) serveCharts() (*chartDocument, error) {
	charts := filepath.Join(s.options.cache, "charts")
	b, err := os.ReadFile(filepath.Join(charts, "index.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not built; run: node test/sandbox/build.mjs", charts)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the chart repository: %w", err)
	}
	var index struct {
		Entries map[string][]struct {
			Version string `json:"version"`
		} `json:"entries"`
	}
	if err := yaml.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("reading the chart repository: %w", err)
	}
	address, err := s.serve(http.StripPrefix("/charts", http.FileServer(http.Dir(charts))))
	if err != nil {
		return nil, err
	}
	d := &chartDocument{Folder: filepath.Join(charts, "milvus"), Repository: "http://" + address + "/charts"}
	for _, e := range index.Entries["milvus"] {
		d.Versions = append([]string{e.Version}, d.Versions...) // the index has the newest first
	}
	env := s.helmEnvironment()
	repositories, err := yaml.Marshal(map[string]any{
		"apiVersion": "", "generated": "2026-01-01T00:00:00Z", "repositories": []map[string]string{{"name": "milvus", "url": d.Repository}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding Helm's repositories: %w", err)
	}
	for file, content := range map[string][]byte{
		env["HELM_REPOSITORY_CONFIG"]:                                    repositories,
		filepath.Join(env["HELM_REPOSITORY_CACHE"], "milvus-index.yaml"): b,
		filepath.Join(env["HELM_REPOSITORY_CACHE"], "milvus-charts.txt"): []byte("milvus\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, fmt.Errorf("making Helm's directories: %w", err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return nil, fmt.Errorf("writing Helm's files: %w", err)
		}
	}
	return d, nil
}
