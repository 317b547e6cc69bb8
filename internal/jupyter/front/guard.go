package front

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The guard comes before every route. A kernel's websocket, like most functions of a Jupyter
// server, executes code.

// guard refuses a request, with a message, unless it names this machine's loopback as host, has
// the token, and comes from no page of another origin.
func (f *Front) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			http.Error(w, "This is served to localhost only: the page was asked for under another name.", http.StatusForbidden)
			return
		}
		how := f.proof(r)
		if how == noProof {
			http.Error(w, "The token is missing or wrong. keyway open WORKSPACE jupyter opens the page with it.", http.StatusForbidden)
			return
		}
		if !fromHere(r, how) {
			http.Error(w, "Refused: the request comes from a page of another origin.", http.StatusForbidden)
			return
		}
		if how == byQuery && r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" {
			f.welcome(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localHost reports whether a Host header names this machine's loopback. Any other name may
// belong to a site that resolves to this address, so that a browser takes the two for one (DNS
// rebinding).
func localHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

type proof int

const (
	noProof  proof = iota
	byHeader       // Authorization
	byQuery        // ?token=
	byCookie
)

// proof returns the way in which a request proves that it knows the token. The comparisons
// take constant time.
func (f *Front) proof(r *http.Request) proof {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && (strings.EqualFold(scheme, "token") || strings.EqualFold(scheme, "bearer")) {
		if same(strings.TrimSpace(token), f.token) {
			return byHeader
		}
	}
	if same(r.URL.Query().Get("token"), f.token) {
		return byQuery
	}
	if c, err := r.Cookie(cookieName(r)); err == nil && same(c.Value, f.cookie()) {
		return byCookie
	}
	return noProof
}

// same compares hashes, which have equal lengths. An empty want matches nothing.
func same(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}

// cookie returns the cookie's value, which does not reveal the token.
func (f *Front) cookie() string {
	sum := sha256.Sum256([]byte("keyway-jupyter cookie\n" + f.token))
	return hex.EncodeToString(sum[:])
}

// cookieName returns a name with the port: browsers send cookies to all ports, and workspaces
// differ in theirs.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "80"
	}
	return "keyway-jupyter-" + port
}

// fromHere reports whether the request comes from no page of another origin. Browsers send a
// cookie also for pages of other ports of this machine, so a request with a cookie needs headers
// by which the browser confirms the origin.
func fromHere(r *http.Request, how proof) bool {
	origin := r.Header.Get("Origin")
	if origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) || u.Scheme != "http" && u.Scheme != "https" {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		if r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Method != http.MethodGet {
			return false
		}
	}
	unsafe := r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != ""
	return how != byCookie || !unsafe || origin != ""
}

// welcome gives a browser the cookie, and redirects it to the page without the token, so that the
// token stays in no history and no Referer.
func (f *Front) welcome(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: f.cookie(), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	q := r.URL.Query()
	q.Del("token")
	to := url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/\\"), RawQuery: q.Encode()}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}
