package api

import (
	"context"
	"net/http"

	"keyway/internal/keyway"
)

func (h handler) containers(w http.ResponseWriter, r *http.Request) {
	list, err := h.node.Containers(r.Context())
	answer(w, list, err)
}

func (h handler) adopt(w http.ResponseWriter, r *http.Request) {
	var a keyway.Adoption
	err := ReadJSON(r.Body, maxSpec, &a)
	if err == nil && string(a.Name) != r.PathValue("name") {
		err = keyway.Errorf(keyway.Usage, "the path names workspace %q, the body %q", r.PathValue("name"), a.Name)
	}
	if err == nil {
		err = a.Validate()
	}
	if err != nil {
		WriteError(w, err)
		return
	}
	tellMade(w, func(report func(keyway.Progress)) (keyway.Workspace, error) {
		return h.node.Adopt(r.Context(), a, report)
	})
}

// maxContainers bounds the containers in a place's answer.
const maxContainers = 1 << 12

// Containers implements Node.
func (c *Client) Containers(ctx context.Context) (list []keyway.Container, err error) {
	err = c.Do(ctx, "GET", "/v1/containers", nil, &list)
	return list[:min(len(list), maxContainers)], err
}

// Adopt implements Node.
func (c *Client) Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error) {
	return c.made(ctx, "POST", workspacePath(a.Name)+"/adopt", a.Name, a, report)
}
