package policy

import (
	"maps"
	"slices"
)

// gitHosts are public git hosts by the SHA-256 fingerprints of the host keys that
// they publish. A login there is proven by the key, not by the name.
var gitHosts = map[string]string{
	// docs.github.com, "GitHub's SSH key fingerprints"
	"SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU": "github.com",
	"SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM": "github.com",
	"SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s": "github.com",
	// docs.gitlab.com, "GitLab.com settings, SSH host keys fingerprints"
	"SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8": "gitlab.com",
	"SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw": "gitlab.com",
	"SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ": "gitlab.com",
	// support.atlassian.com, "Configure SSH and two-step verification"
	"SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM": "bitbucket.org",
	"SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0": "bitbucket.org",
	"SHA256:46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E": "bitbucket.org",
}

// GitHost returns the name of the public git host with the host key, or empty.
func GitHost(fingerprint string) string { return gitHosts[fingerprint] }

// GitHosts returns the public git hosts, one for each name, in the order of their names.
func GitHosts() []Host {
	byName := map[string]Host{}
	for _, fingerprint := range slices.Sorted(maps.Keys(gitHosts)) {
		name := gitHosts[fingerprint]
		byName[name] = Host{Fingerprint: fingerprint, Names: []string{name}, Groups: []string{GroupGit}}
	}
	var list []Host
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list
}
