package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

type object = map[string]any

// usageError is a command line that gcloud refuses with exit code 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// flags that take no value.
var switches = map[string]bool{"--global": true, "--quiet": true, "-q": true, "--help": true}

// known are the flags of the commands below; any other is refused, as gcloud does.
var known = []string{
	"--action", "--addresses", "--allow", "--custom-features", "--description", "--direction", "--filter", "--format", "--global", "--ip-version", "--limit",
	"--min-tls-version", "--network", "--network-tier", "--priority", "--profile", "--project", "--quiet", "-q", "--rules", "--sort-by", "--source-ranges",
	"--target-tags", "--verbosity",
}

// parse separates words from flags; --name=value and --name value mean the same.
func parse(args []string) (words []string, flags map[string]string, err error) {
	flags = map[string]string{}
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			words = append(words, args[i])
			continue
		}
		name, value, joined := strings.Cut(args[i], "=")
		if !slices.Contains(known, name) && !switches[name] {
			return nil, nil, &usageError{"ERROR: (gcloud) unrecognized arguments: " + args[i]}
		}
		if !joined && !switches[name] {
			if i++; i == len(args) {
				return nil, nil, &usageError{"ERROR: (gcloud) argument " + name + ": expected one argument"}
			}
			value = args[i]
		}
		flags[name] = value
	}
	return words, flags, nil
}

// kinds are the groups of `gcloud compute` that the sandbox knows.
var kinds = map[string]struct {
	collection, singular string
	verbs                []string
}{
	"addresses":      {"addresses", "addresses", []string{"create", "describe", "list", "delete"}},
	"ssl-policies":   {"sslPolicies", "SSL policies", []string{"create", "describe", "list", "delete"}},
	"firewall-rules": {"firewalls", "firewalls", []string{"create", "describe", "list", "delete"}},
}

func gcloud(args []string) error {
	if slices.Equal(args, []string{"--version"}) || slices.Equal(args, []string{"version"}) {
		fmt.Print("Google Cloud SDK 528.0.0\ncore 2026.06.26\ngke-gcloud-auth-plugin 0.5.10\n")
		return nil
	}
	words, flags, err := parse(args)
	if err != nil {
		return err
	}
	s, err := find()
	if err != nil {
		return err
	}
	if slices.Equal(words, []string{"config", "get-value", "project"}) || slices.Equal(words, []string{"config", "get", "project"}) {
		fmt.Println(s.Project)
		return nil
	}
	if len(words) < 3 || words[0] != "compute" {
		return &usageError{fmt.Sprintf("ERROR: (gcloud) Invalid choice: '%s'.", strings.Join(words, " "))}
	}
	kind, ok := kinds[words[1]]
	if !ok || !slices.Contains(kind.verbs, words[2]) {
		return &usageError{fmt.Sprintf("ERROR: (gcloud.compute) Invalid choice: '%s'.", strings.Join(words[1:], " "))}
	}
	c := &command{name: "gcloud." + strings.Join(words[:3], "."), project: s.Project, compute: s.Compute, collection: kind.collection, what: kind.singular, flags: flags}
	if p := flags["--project"]; p != "" {
		c.project = p
	}
	if p := c.project; p != s.Project {
		return c.failed("Could not fetch resource", fmt.Sprintf("The resource 'projects/%s' was not found", p))
	}
	if words[1] == "addresses" && words[2] != "list" {
		if _, ok := flags["--global"]; !ok {
			return &usageError{fmt.Sprintf("ERROR: (%s) The sandbox has global addresses only; add --global.", c.name)}
		}
	}
	names := words[3:]
	if words[2] == "list" {
		return c.list()
	}
	if len(names) == 0 {
		return &usageError{fmt.Sprintf("ERROR: (%s) argument NAME: Must be specified.", c.name)}
	}
	if words[2] == "describe" && len(names) > 1 {
		return &usageError{fmt.Sprintf("ERROR: (%s) unrecognized arguments: %s", c.name, strings.Join(names[1:], " "))}
	}
	switch words[2] {
	case "describe":
		o, err := c.call(http.MethodGet, c.collection+"/"+names[0], nil)
		if err != nil {
			return err
		}
		return c.print(o)
	case "delete":
		return c.remove(names)
	}
	return c.create(names)
}

// command is one call of `gcloud compute GROUP VERB`.
type command struct {
	name, project, compute, collection, what string
	flags                                    map[string]string
}

// failed is the form of gcloud's errors.
func (c *command) failed(summary, detail string) error {
	return fmt.Errorf("ERROR: (%s) %s:\n - %s\n", c.name, summary, detail) //nolint:staticcheck // gcloud's own text
}

// call reaches the Compute API below global/ and waits for the operation; its failures are worded by gcloud.
func (c *command) call(method, path string, body object) (object, error) {
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("ERROR: encoding the request: %w", err)
		}
		reader = bytes.NewReader(b)
	}
	request, err := http.NewRequest(method, c.compute+"/compute/v1/projects/"+c.project+"/global/"+path, reader)
	if err != nil {
		return nil, fmt.Errorf("ERROR: making the request: %w", err)
	}
	request.Header.Set("User-Agent", "google-cloud-sdk gcloud/528.0.0 command/"+c.name)
	client := &http.Client{Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ERROR: gcloud crashed (TransportError): %w", err)
	}
	defer response.Body.Close()
	var answer object
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("ERROR: reading the answer: %w", err)
	}
	if failure, ok := answer["error"].(object); ok {
		detail := fmt.Sprint(failure["message"])
		if list, _ := failure["errors"].([]any); len(list) > 0 {
			if first, ok := list[0].(object); ok {
				detail = fmt.Sprint(first["message"])
			}
		}
		return nil, c.failed("Could not fetch resource", detail)
	}
	return answer, nil
}

func (c *command) list() error {
	answer, err := c.call(http.MethodGet, c.collection, nil)
	if err != nil {
		return err
	}
	items, _ := answer["items"].([]any)
	if items == nil {
		items = []any{}
	}
	if c.flags["--format"] == "" && len(items) == 0 {
		fmt.Fprintln(os.Stderr, "Listed 0 items.")
		return nil
	}
	return c.print(items)
}

func (c *command) create(names []string) error {
	var made []any
	for _, name := range names {
		o, err := c.resource(name)
		if err != nil {
			return err
		}
		if _, err := c.call(http.MethodPost, c.collection, o); err != nil {
			return err
		}
		got, err := c.call(http.MethodGet, c.collection+"/"+name, nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Created [%v].\n", got["selfLink"])
		made = append(made, got)
	}
	if c.flags["--format"] == "" && c.collection == "addresses" {
		return nil
	}
	return c.print(made)
}

func list(text string) []any {
	out := []any{}
	for _, s := range strings.Split(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (c *command) resource(name string) (object, error) {
	o := object{"name": name}
	if d, ok := c.flags["--description"]; ok {
		o["description"] = d
	}
	switch c.collection {
	case "addresses":
		if a := c.flags["--addresses"]; a != "" {
			o["address"] = a
		}
		if v := c.flags["--ip-version"]; v != "" {
			o["ipVersion"] = strings.ToUpper(v)
		}
	case "sslPolicies":
		o["profile"], o["minTlsVersion"] = "COMPATIBLE", "TLS_1_0"
		if p := c.flags["--profile"]; p != "" {
			o["profile"] = strings.ToUpper(p)
		}
		if v := c.flags["--min-tls-version"]; v != "" {
			o["minTlsVersion"] = "TLS_" + strings.ReplaceAll(v, ".", "_")
		}
	case "firewalls":
		rules := c.flags["--allow"]
		if rules == "" {
			rules = c.flags["--rules"]
		}
		if rules == "" {
			return nil, &usageError{fmt.Sprintf("ERROR: (%s) argument --action (--rules) | --allow: Must be specified.", c.name)}
		}
		var allowed []any
		for _, r := range list(rules) {
			protocol, port, ok := strings.Cut(r.(string), ":")
			rule := object{"IPProtocol": protocol}
			if ok {
				rule["ports"] = []string{port}
			}
			allowed = append(allowed, rule)
		}
		o["allowed"], o["direction"], o["priority"] = allowed, "INGRESS", 1000
		o["network"] = "https://www.googleapis.com/compute/v1/projects/" + c.project + "/global/networks/default"
		o["sourceRanges"], o["targetTags"] = list(c.flags["--source-ranges"]), list(c.flags["--target-tags"])
	}
	return o, nil
}

func (c *command) remove(names []string) error {
	_, quiet := c.flags["--quiet"]
	_, q := c.flags["-q"]
	if !quiet && !q {
		scope := ""
		if c.collection == "addresses" {
			scope = "global "
		}
		fmt.Fprintf(os.Stderr, "The following %s%s will be deleted:\n - [%s]\n\nDo you want to continue (Y/n)?  ", scope, c.what, strings.Join(names, "]\n - ["))
		var answer string
		if _, err := fmt.Scanln(&answer); err == io.EOF {
			return fmt.Errorf("\nERROR: (%s) This prompt could not be answered because you are not in an interactive session. You can re-run the command with the --quiet flag to accept default answers for all prompts", c.name)
		}
		if answer != "" && !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
			return fmt.Errorf("ERROR: (%s) Aborted by user", c.name)
		}
	}
	for _, name := range names {
		if _, err := c.call(http.MethodDelete, c.collection+"/"+name, nil); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Deleted [https://www.googleapis.com/compute/v1/projects/%s/global/%s/%s].\n", c.project, c.collection, name)
	}
	if c.flags["--format"] == "json" {
		fmt.Println("[]")
	}
	return nil
}

// print knows json, value(FIELD) and, as a plain form of everything else, lines of "field: value".
func (c *command) print(v any) error {
	format := c.flags["--format"]
	switch {
	case format == "json":
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("ERROR: encoding the answer: %w", err)
		}
		fmt.Println(string(b))
		return nil
	case strings.HasPrefix(format, "value(") && strings.HasSuffix(format, ")"):
		for _, o := range objects(v) {
			var fields []string
			for _, f := range strings.Split(format[len("value("):len(format)-1], ",") {
				value := o[strings.TrimSpace(f)]
				if value == nil {
					value = ""
				}
				fields = append(fields, fmt.Sprint(value))
			}
			fmt.Println(strings.Join(fields, "\t"))
		}
		return nil
	case format != "":
		return &usageError{fmt.Sprintf("ERROR: (%s) the sandbox knows --format=json and --format=value(...) only, not %s", c.name, format)}
	}
	for i, o := range objects(v) {
		if i > 0 {
			fmt.Println("---")
		}
		for _, k := range slices.Sorted(maps.Keys(o)) {
			fmt.Printf("%s: %v\n", k, o[k])
		}
	}
	return nil
}

func objects(v any) []object {
	if o, ok := v.(object); ok {
		return []object{o}
	}
	var out []object
	list, _ := v.([]any)
	for _, x := range list {
		if o, ok := x.(object); ok {
			out = append(out, o)
		}
	}
	return out
}
