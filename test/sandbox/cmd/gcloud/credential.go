package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// credential prints an ExecCredential of client.authentication.k8s.io/v1 with a fresh token.
func credential(args []string) error {
	if len(args) > 0 && args[0] == "--version" {
		fmt.Println("Kubernetes v1.36.3-sandbox")
		return nil
	}
	s, err := find()
	if err != nil {
		return err
	}
	apiVersion := "client.authentication.k8s.io/v1"
	if info := os.Getenv("KUBERNETES_EXEC_INFO"); info != "" {
		var asked struct {
			APIVersion string `json:"apiVersion"`
		}
		if err := json.Unmarshal([]byte(info), &asked); err != nil {
			return fmt.Errorf("reading KUBERNETES_EXEC_INFO: %w", err)
		}
		apiVersion = asked.APIVersion
	}
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Post(s.Control+"/token", "application/json", nil)
	if err != nil {
		return fmt.Errorf("print credential failed with error: failed to retrieve access token: %w", err)
	}
	defer response.Body.Close()
	var status struct {
		Token   string `json:"token"`
		Expires string `json:"expirationTimestamp"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil || status.Token == "" {
		return fmt.Errorf("print credential failed with error: failed to retrieve access token: status %s", response.Status)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"kind": "ExecCredential", "apiVersion": apiVersion, "spec": map[string]bool{"interactive": false}, "status": status,
	})
}
