package managedcerts

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sandbox/authority"
	"sandbox/clock"
	"sandbox/compute"
)

// Outcome is what a test wants of a domain.
type Outcome string

// Auto lets DNS, CAA records and the load balancer decide. The others are the states of
// GoogleCloudPlatform/gke-managed-certs pkg/config/config.go as a ManagedCertificate shows them.
const (
	Auto                          Outcome = "auto"
	Provisioning                  Outcome = "Provisioning"
	Active                        Outcome = "Active"
	FailedNotVisible              Outcome = "FailedNotVisible"
	FailedCaaChecking             Outcome = "FailedCaaChecking"
	FailedCaaForbidden            Outcome = "FailedCaaForbidden"
	FailedRateLimited             Outcome = "FailedRateLimited"
	ProvisioningFailed            Outcome = "ProvisioningFailed"
	ProvisioningFailedPermanently Outcome = "ProvisioningFailedPermanently"
	RenewalFailed                 Outcome = "RenewalFailed"
)

// domainStates are the states of one domain in the Compute API.
var domainStates = map[Outcome]string{
	Provisioning: "PROVISIONING", Active: "ACTIVE", FailedNotVisible: "FAILED_NOT_VISIBLE", FailedCaaChecking: "FAILED_CAA_CHECKING",
	FailedCaaForbidden: "FAILED_CAA_FORBIDDEN", FailedRateLimited: "FAILED_RATE_LIMITED",
}

// certificateStates are the outcomes that concern the whole certificate.
var certificateStates = map[Outcome]string{
	ProvisioningFailed: "PROVISIONING_FAILED", ProvisioningFailedPermanently: "PROVISIONING_FAILED_PERMANENTLY", RenewalFailed: "RENEWAL_FAILED",
}

// Google's own durations, divided by the clock's factor.
const (
	// firstCheck passes before a domain that is not visible is called so.
	firstCheck = 3 * time.Minute
	// issueTime passes from a visible domain to its certificate; Google names up to an hour, often 15 minutes.
	issueTime = 5 * time.Minute
	// propagation passes from Active until the load balancer serves the certificate; Google names up to 30 minutes.
	propagation = time.Minute
	// validity of Google-managed certificates.
	validity = 90 * 24 * time.Hour
)

// trusted are the authorities that Google issues through; CAA records must allow one
// (cloud.google.com/load-balancing/docs/ssl-certificates/google-managed-certs#caa).
var trusted = []string{"pki.goog", "letsencrypt.org"}

// Resolver answers as the public DNS does.
type Resolver interface {
	Lookup(name string) (v4, v6 []string)
	CAA(name string) (issuers []string)
}

// Issuer moves the managed certificates of a store on, as Google does.
type Issuer struct {
	store    *compute.Store
	resolver Resolver
	clock    *clock.Clock
	ca       *authority.Authority
	log      *slog.Logger

	mu       sync.Mutex
	outcomes map[string]Outcome
	visible  map[string]time.Time // certificate key and domain, since when
}

// NewIssuer makes an issuer whose certificates are signed by ca.
func NewIssuer(store *compute.Store, resolver Resolver, clock *clock.Clock, ca *authority.Authority, log *slog.Logger) *Issuer {
	return &Issuer{store: store, resolver: resolver, clock: clock, ca: ca, log: log, outcomes: map[string]Outcome{}, visible: map[string]time.Time{}}
}

// SetOutcome decides what becomes of a domain from now on.
func (i *Issuer) SetOutcome(domain string, outcome Outcome) error {
	if outcome != Auto && domainStates[outcome] == "" && certificateStates[outcome] == "" {
		return fmt.Errorf("outcome %q is none of %v", outcome, append([]Outcome{Auto}, append(slices.Sorted(maps.Keys(domainStates)), slices.Sorted(maps.Keys(certificateStates))...)...))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.outcomes[strings.ToLower(domain)] = outcome
	return nil
}

// Run works until ctx ends.
func (i *Issuer) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
			i.Step(time.Now())
		}
	}
}

// Step looks at every managed certificate once.
func (i *Issuer) Step(now time.Time) {
	objects := i.store.Objects()
	for key, o := range objects {
		if o["type"] == "MANAGED" && strings.HasPrefix(key, "global/sslCertificates/") {
			if err := i.move(now, key, o, addressesOf(key, objects)); err != nil {
				i.log.Error("issuing", "certificate", key, "error", err.Error())
			}
		}
	}
}

// addressesOf are the addresses of HTTPS forwarding rules on port 443 whose proxies carry the certificate.
func addressesOf(certificate string, objects map[string]compute.Object) map[string]bool {
	out := map[string]bool{}
	for proxyKey, proxy := range objects {
		links, _ := proxy["sslCertificates"].([]any)
		if !slices.ContainsFunc(links, func(l any) bool { return compute.KeyOf(fmt.Sprint(l)) == certificate }) {
			continue
		}
		for _, rule := range objects {
			target, _ := rule["target"].(string)
			if target != "" && compute.KeyOf(target) == proxyKey && strings.HasPrefix(fmt.Sprint(rule["portRange"]), "443") {
				out[fmt.Sprint(rule["IPAddress"])] = true
			}
		}
	}
	return out
}

func (i *Issuer) move(now time.Time, key string, o compute.Object, addresses map[string]bool) error {
	managed, _ := o["managed"].(compute.Object)
	before, _ := managed["domainStatus"].(compute.Object)
	status := fmt.Sprint(managed["status"])
	if status == certificateStates[ProvisioningFailedPermanently] {
		return nil // Google does not try again; the certificate must be made anew
	}
	created, err := time.Parse(time.RFC3339Nano, fmt.Sprint(o["creationTimestamp"]))
	if err != nil {
		return fmt.Errorf("reading its creation time: %w", err)
	}
	issued := o["expireTime"] != nil
	domains := map[string]any{}
	next := "ACTIVE"
	for domain, old := range before {
		state, whole := i.domain(now, key, domain, fmt.Sprint(old), now.Sub(created), issued, addresses)
		domains[domain] = state
		switch {
		case whole == "RENEWAL_FAILED" && !issued:
			next = "PROVISIONING" // a renewal fails only where there was a certificate
		case whole != "":
			next = whole
		case state != "ACTIVE" && next == "ACTIVE" && !issued:
			next = "PROVISIONING"
		}
	}
	issue := !issued && next == "ACTIVE"
	serve := o["certificate"] == nil && issued && now.Sub(i.activeSince(key, now)) >= i.clock.Scale(propagation, 0)
	if next == status && fmt.Sprint(domains) == fmt.Sprint(before) && !issue && !serve {
		return nil
	}
	i.log.Info("managed certificate", "certificate", key, "status", next, "domains", fmt.Sprint(domains), "served", serve)
	var cert, private []byte
	if serve {
		names := slices.Sorted(maps.Keys(before))
		if cert, private, err = i.ca.Issue(authority.Request{CommonName: names[0], DNSNames: names, Lifetime: validity}); err != nil {
			return err
		}
		cert = append(cert, i.ca.Certificate()...)
	}
	i.store.Edit(key, func(o compute.Object) {
		m := o["managed"].(compute.Object)
		m["status"], m["domainStatus"] = next, domains
		if issue {
			o["expireTime"] = now.Add(validity).UTC().Format("2006-01-02T15:04:05.000-07:00")
			i.activeSince(key, now)
		}
		if serve {
			o["certificate"], o["privateKey"] = string(cert), string(private)
		}
	})
	return nil
}

// activeSince remembers when a certificate became active.
func (i *Issuer) activeSince(key string, now time.Time) time.Time {
	return i.since(key+" active", true, now)
}

// since keeps the time from which a condition holds.
func (i *Issuer) since(name string, holds bool, now time.Time) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !holds {
		delete(i.visible, name)
		return now
	}
	if _, ok := i.visible[name]; !ok {
		i.visible[name] = now
	}
	return i.visible[name]
}

// domain gives the state of one domain, and the certificate's where the outcome sets it.
func (i *Issuer) domain(now time.Time, key, domain, old string, age time.Duration, issued bool, addresses map[string]bool) (state, whole string) {
	i.mu.Lock()
	outcome := i.outcomes[strings.ToLower(domain)]
	i.mu.Unlock()
	if state := certificateStates[outcome]; state != "" {
		if outcome == RenewalFailed && !issued {
			return i.automatic(now, key, domain, old, age, issued, addresses), ""
		}
		return "FAILED_NOT_VISIBLE", state
	}
	if state := domainStates[outcome]; state != "" {
		return state, ""
	}
	return i.automatic(now, key, domain, old, age, issued, addresses), ""
}

// automatic does as Google does: every A and AAAA record must point to the load balancer that carries the
// certificate, and CAA records must allow one of Google's authorities.
func (i *Issuer) automatic(now time.Time, key, domain, old string, age time.Duration, issued bool, addresses map[string]bool) string {
	if issued {
		return "ACTIVE"
	}
	v4, v6 := i.resolver.Lookup(domain)
	all := append(slices.Clone(v4), v6...)
	visible := len(all) > 0 && !slices.ContainsFunc(all, func(a string) bool { return !addresses[a] })
	since := i.since(key+" "+domain, visible, now)
	switch issuers := i.resolver.CAA(domain); {
	case visible && len(issuers) > 0 && !slices.ContainsFunc(issuers, func(n string) bool { return slices.Contains(trusted, n) }):
		return "FAILED_CAA_FORBIDDEN"
	case visible && now.Sub(since) >= i.clock.Scale(issueTime, 0):
		return "ACTIVE"
	case visible:
		if old == "ACTIVE" {
			return old
		}
		return "PROVISIONING"
	case age >= i.clock.Scale(firstCheck, 0):
		return "FAILED_NOT_VISIBLE"
	}
	return "PROVISIONING"
}
