package compute

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// API serves a store over HTTP as compute.googleapis.com and the metadata server would.
type API struct {
	Store *Store
	// Log gets one record a call.
	Log *slog.Logger
}

var apiPath = regexp.MustCompile(`^/compute/(v1|beta|alpha)/projects/([^/]+)/?(.*)$`)

// ServeHTTP answers one call.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/computeMetadata/v1/"); ok {
		a.metadata(w, name)
		return
	}
	begin := time.Now()
	m := apiPath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		writeError(w, &Error{404, "notFound", "no such path " + r.URL.Path})
		return
	}
	version, path := m[1], strings.Trim(m[3], "/")
	var body Object
	if b, err := io.ReadAll(r.Body); err != nil {
		return // the caller is gone
	} else if len(b) > 0 {
		if err := json.Unmarshal(b, &body); err != nil {
			writeError(w, &Error{400, "parseError", err.Error()})
			return
		}
	}
	out, failure := a.Store.Do(r.Method, version, path, body, r.URL.Query().Get("filter"))
	code, message := 200, ""
	if failure != nil {
		code, message = failure.Code, failure.Message
	}
	a.Log.Info("call", "method", r.Method, "path", version+"/"+path, "code", code, "error", message,
		"agent", r.UserAgent(), "took", time.Since(begin).String())
	if failure != nil {
		writeError(w, failure)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out)
}

func writeError(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Code)
	_ = json.NewEncoder(w).Encode(Object{"error": Object{
		"code": e.Code, "message": e.Message, "errors": []Object{{"domain": "global", "reason": e.Reason, "message": e.Message}},
	}})
}

func (a *API) metadata(w http.ResponseWriter, name string) {
	w.Header().Set("Metadata-Flavor", "Google")
	switch {
	case strings.HasSuffix(name, "/token"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"sandbox","expires_in":3600,"token_type":"Bearer"}`)
	case name == "project/project-id":
		fmt.Fprint(w, a.Store.config.Project)
	case name == "instance/zone":
		fmt.Fprint(w, "projects/1/zones/"+a.Store.config.Zones[0])
	case name == "universe/universe-domain":
		fmt.Fprint(w, "googleapis.com")
	default:
		fmt.Fprint(w, "ok")
	}
}

// Do performs one call on a path below the project, such as "global/urlMaps/x". The answer is encoded
// under the lock, so that it never races with a write.
func (s *Store) Do(method, version, path string, body Object, filter string) (json.RawMessage, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, failure := s.route(method, version, path, body, filter)
	if failure != nil {
		return nil, failure
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, &Error{500, "internalError", err.Error()}
	}
	return b, nil
}

func (s *Store) notFound(key string) *Error {
	return &Error{404, "notFound", fmt.Sprintf("The resource 'projects/%s/%s' was not found", s.config.Project, key)}
}

func (s *Store) route(method, version, path string, body Object, filter string) (any, *Error) {
	parts := strings.Split(path, "/")
	switch {
	case path == "":
		return Object{"kind": "compute#project", "name": s.config.Project, "id": "1"}, nil
	case parts[0] == "zones" && len(parts) <= 2:
		return s.zones(version, parts, filter)
	case parts[0] == "regions" && len(parts) == 2:
		return Object{"kind": "compute#region", "name": parts[1], "status": "UP", "selfLink": s.link(version, path)}, nil
	case parts[0] == "aggregated" && len(parts) == 2:
		return s.aggregated(parts[1], filter), nil
	}
	scope := "global"
	if parts[0] == "global" {
		parts = parts[1:]
	} else if (parts[0] == "zones" || parts[0] == "regions") && len(parts) > 2 {
		scope, parts = parts[0]+"/"+parts[1], parts[2:]
	}
	if len(parts) == 0 || len(parts) > 3 {
		return nil, s.notFound(path)
	}
	collection := parts[0]
	s.calls[method+" "+collection]++
	if collection == "operations" {
		if len(parts) < 2 || s.operations[parts[1]] == nil {
			return nil, s.notFound(path)
		}
		return s.operations[parts[1]], nil
	}
	if len(parts) == 1 {
		if method == http.MethodPost {
			return s.insert(version, scope, collection, body)
		}
		list := []Object{}
		for _, key := range s.keys() {
			if strings.HasPrefix(key, scope+"/"+collection+"/") {
				list = append(list, s.present(key, s.objects[key]))
			}
		}
		return Object{"kind": "compute#" + kindOf(collection) + "List", "items": filtered(list, filter)}, nil
	}
	key := scope + "/" + collection + "/" + parts[1]
	o := s.objects[key]
	if o == nil {
		return nil, s.notFound(key)
	}
	if len(parts) == 3 {
		return s.act(version, scope, key, parts[2], body)
	}
	switch method {
	case http.MethodGet:
		return s.present(key, o), nil
	case http.MethodDelete:
		if user := s.user(key); user != "" {
			return nil, &Error{400, "resourceInUseByAnotherResource", fmt.Sprintf("The %s resource 'projects/%s/%s' is already being used by 'projects/%s/%s'",
				snake(kindOf(collection)), s.config.Project, key, s.config.Project, user)}
		}
		delete(s.objects, key)
		delete(s.members, key)
		s.changed()
		return s.operation(version, scope, "delete", key), nil
	case http.MethodPatch, http.MethodPut:
		return s.update(method, version, scope, key, body)
	}
	return nil, &Error{405, "methodNotAllowed", "method " + method}
}

// snake turns urlMap into url_map, as Google's in-use errors name resource types.
func snake(kind string) string {
	var b strings.Builder
	for _, r := range kind {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (s *Store) zones(version string, parts []string, filter string) (any, *Error) {
	list := []Object{}
	for _, z := range s.config.Zones {
		zone := Object{"kind": "compute#zone", "name": z, "status": "UP", "region": s.link(version, "regions/"+s.config.Region), "selfLink": s.link(version, "zones/"+z)}
		if len(parts) == 2 && parts[1] == z {
			return zone, nil
		}
		list = append(list, zone)
	}
	if len(parts) == 2 {
		return nil, s.notFound(strings.Join(parts, "/"))
	}
	return Object{"items": filtered(list, filter)}, nil
}

func (s *Store) aggregated(collection, filter string) Object {
	byScope := map[string][]Object{}
	for _, key := range s.keys() {
		if collectionOf(key) != collection {
			continue
		}
		scope := strings.TrimSuffix(key, "/"+collection+"/"+lastSegment(key))
		byScope[scope] = append(byScope[scope], filtered([]Object{s.present(key, s.objects[key])}, filter)...)
	}
	items := Object{}
	for scope, list := range byScope {
		items[scope] = Object{collection: list}
	}
	return Object{"items": items}
}

// fixed are the fields that an update never changes.
var fixed = []string{"id", "kind", "name", "selfLink", "creationTimestamp", "region", "zone", "securityPolicy"}

func (s *Store) update(method, version, scope, key string, body Object) (any, *Error) {
	o := s.objects[key]
	if f, _ := body["fingerprint"].(string); f != "" && f != o["fingerprint"] {
		return nil, &Error{412, "conditionNotMet", "Invalid fingerprint."}
	}
	n := Object{}
	if method == http.MethodPatch {
		n = maps.Clone(o)
	}
	maps.Copy(n, body)
	for _, k := range fixed {
		if v, ok := o[k]; ok {
			n[k] = v
		}
	}
	if failure := s.checkReferences(n); failure != nil {
		return nil, failure
	}
	n["fingerprint"] = fingerprint()
	s.objects[key] = n
	s.changed()
	return s.operation(version, scope, "update", key), nil
}

// setters are the actions that replace one field.
var setters = map[string]string{
	"setUrlMap": "urlMap", "setSslCertificates": "sslCertificates", "setSslPolicy": "sslPolicy", "setTarget": "target",
	"setSecurityPolicy": "securityPolicy", "setNamedPorts": "namedPorts", "setLabels": "labels",
}

func (s *Store) act(version, scope, key, action string, body Object) (any, *Error) {
	o := s.objects[key]
	if field := setters[action]; field != "" {
		if failure := s.checkReferences(body); failure != nil {
			return nil, failure
		}
		n := maps.Clone(o)
		n[field], n["fingerprint"] = body[field], fingerprint()
		if body[field] == nil {
			delete(n, field)
		}
		s.objects[key] = n
		s.changed()
		return s.operation(version, scope, action, key), nil
	}
	switch action {
	case "attachNetworkEndpoints":
		s.addMembers(key, objectList(body["networkEndpoints"]), "ipAddress", "port", "instance")
	case "detachNetworkEndpoints":
		s.removeMembers(key, objectList(body["networkEndpoints"]), "ipAddress", "port", "instance")
	case "addInstances":
		s.addMembers(key, objectList(body["instances"]), "instance")
	case "removeInstances":
		s.removeMembers(key, objectList(body["instances"]), "instance")
	case "listNetworkEndpoints":
		return s.listEndpoints(key, body["healthStatus"] == "SHOW"), nil
	case "listInstances":
		list := []Object{}
		for _, m := range s.members[key] {
			list = append(list, Object{"instance": m["instance"], "status": "RUNNING"})
		}
		return Object{"kind": "compute#instanceGroupsListInstances", "items": list}, nil
	case "getHealth":
		list := []Object{}
		for _, h := range s.healthOf(lastSegment(key), lastSegment(fmt.Sprint(body["group"]))) {
			list = append(list, Object{"ipAddress": h.Address, "port": h.Port, "healthState": h.State})
		}
		return Object{"kind": "compute#backendServiceGroupHealth", "healthStatus": list}, nil
	default:
		return nil, &Error{501, "notImplemented", "the sandbox does not implement " + action}
	}
	return s.operation(version, scope, action, key), nil
}

func (s *Store) healthOf(backendService, group string) []HealthState {
	if s.health == nil {
		return nil
	}
	return s.health(backendService, group)
}

func (s *Store) listEndpoints(key string, withHealth bool) Object {
	list := []Object{}
	for _, m := range s.members[key] {
		item := Object{"networkEndpoint": m}
		if withHealth {
			for _, k := range s.keys() {
				if collectionOf(k) != "backendServices" || !refersTo(s.objects[k], key) {
					continue
				}
				state := "UNHEALTHY" // attached, not probed yet
				for _, h := range s.healthOf(lastSegment(k), lastSegment(key)) {
					if h.Address == m["ipAddress"] && fmt.Sprint(h.Port) == fmt.Sprint(m["port"]) {
						state = h.State
					}
				}
				item["healths"] = []Object{{"backendService": Object{"backendService": s.objects[k]["selfLink"]}, "healthState": state}}
			}
		}
		list = append(list, item)
	}
	return Object{"kind": "compute#networkEndpointGroupsListNetworkEndpoints", "items": list}
}

func objectList(v any) []Object {
	var out []Object
	list, _ := v.([]any)
	for _, x := range list {
		if o, ok := x.(Object); ok {
			out = append(out, o)
		}
	}
	return out
}

func sameMember(a, b Object, fields []string) bool {
	for _, f := range fields {
		if lastSegment(fmt.Sprint(a[f])) != lastSegment(fmt.Sprint(b[f])) {
			return false
		}
	}
	return true
}

func contains(list []Object, m Object, fields []string) bool {
	for _, x := range list {
		if sameMember(x, m, fields) {
			return true
		}
	}
	return false
}

func (s *Store) addMembers(key string, in []Object, fields ...string) {
	var list []Object
	list = append(list, s.members[key]...)
	for _, m := range in {
		if !contains(list, m, fields) {
			list = append(list, m)
		}
	}
	s.setMembers(key, list)
}

func (s *Store) removeMembers(key string, in []Object, fields ...string) {
	var list []Object
	for _, m := range s.members[key] {
		if !contains(in, m, fields) {
			list = append(list, m)
		}
	}
	s.setMembers(key, list)
}

func (s *Store) setMembers(key string, list []Object) {
	s.members[key] = list
	o := maps.Clone(s.objects[key])
	o["size"] = len(list)
	s.objects[key] = o
	s.changed()
}

// operation records a finished operation; every operation of this stand-in ends at once.
func (s *Store) operation(version, scope, kind, target string) Object {
	s.sequence++
	name := fmt.Sprintf("operation-%d", s.sequence)
	o := Object{
		"kind": "compute#operation", "id": fmt.Sprint(s.sequence), "name": name, "operationType": kind, "status": "DONE", "progress": 100,
		"targetLink": s.link(version, target), "selfLink": s.link(version, scope+"/operations/"+name), "insertTime": time.Now().Format(time.RFC3339),
	}
	if z, ok := strings.CutPrefix(scope, "zones/"); ok {
		o["zone"] = s.link(version, "zones/"+z)
	}
	if r, ok := strings.CutPrefix(scope, "regions/"); ok {
		o["region"] = s.link(version, "regions/"+r)
	}
	s.operations[name] = o
	return o
}

// failedOperation records an operation that was accepted and then failed. Clients turn it into
// "Error <status>: <code> - <message>" (GoogleCloudPlatform/k8s-cloud-provider pkg/cloud/op.go).
func (s *Store) failedOperation(version, scope, kind, target string, status int, code, message string) Object {
	o := s.operation(version, scope, kind, target)
	o["httpErrorStatusCode"], o["httpErrorMessage"] = status, strings.ToUpper(http.StatusText(status))
	o["error"] = Object{"errors": []Object{{"code": code, "message": message}}}
	return o
}
