package beside

import (
	"archive/tar"
	"context"
	"io"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

// Claim returns the container of that name or ID, if a guest can be put into it. Until release, no
// other process of this owner can claim it: two guests would take the container from each other.
func (g *Guests) Claim(ctx context.Context, name string) (c container.InspectResponse, release func(), err error) {
	release = func() {}
	timed, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	if found, err := g.Client.ContainerInspect(timed, name, client.ContainerInspectOptions{}); err == nil {
		lock := keyway.Name("container-" + found.Container.ID[:min(len(found.Container.ID), 32)])
		if release, err = g.Homes.Lock(ctx, lock); err != nil {
			return c, nil, err
		}
	}
	if c, err = g.candidate(timed, name); err != nil {
		release()
	}
	if timed.Err() != nil && ctx.Err() == nil && err != nil {
		err = g.hangs(name)
	}
	return c, release, err
}

func (g *Guests) candidate(ctx context.Context, name string) (container.InspectResponse, error) {
	found, err := g.Client.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if daemon.IsNotFound(err) {
		return container.InspectResponse{}, keyway.Errorf(keyway.NotFound, "%s has no container %s at this place", g.Client.Known().Title(), name).
			Advise(keyway.SeeContainers)
	}
	if err != nil {
		return container.InspectResponse{}, g.Client.Explain(ctx, err)
	}
	c := found.Container
	if err := g.refusal(c); err != nil {
		return c, err
	}
	return c, g.untaken(ctx, c)
}

// refusal returns the reason for which no guest can be beside the first process of a container.
func (g *Guests) refusal(c container.InspectResponse) error {
	if c.Config == nil || c.State == nil || c.HostConfig == nil || !keyway.IsContainerID(c.ID) {
		return keyway.Errorf(keyway.Other, "the daemon's description of the container %.80q is incomplete", c.Name)
	}
	name, engine := NameOf(c), g.Client.Name()
	switch {
	case c.Path == keyway.GuestHome.Program():
		return g.isWorkspace(c)
	case c.State.Paused:
		return keyway.Errorf(keyway.NotRunning, "the container %s is paused", name).Hint("let it go on, at the place: %s unpause %s", engine, name)
	case c.State.Restarting:
		return keyway.Errorf(keyway.NotRunning, "the container %s ends and is started again and again", name).Hint("see why, at the place: %s logs %s", engine, name)
	case !c.State.Running:
		return keyway.Errorf(keyway.NotRunning, "the container %s does not run", name).Hint("start it, at the place: %s start %s", engine, name)
	case c.HostConfig.ReadonlyRootfs:
		return keyway.Errorf(keyway.Usage, "the container %s has a read-only root file system: a guest program cannot be put into it", name).Advise(keyway.MakeReadOnly)
	case c.Platform == "windows":
		return keyway.Errorf(keyway.Usage, "the container %s runs Windows, and the guest program is for Linux", name).Advise(keyway.SeeContainers)
	}
	return nil
}

// isWorkspace refuses a container whose first process is a guest. It uses the labels only to name
// the owner.
func (g *Guests) isWorkspace(c container.InspectResponse) error {
	name, err := keyway.ParseName(c.Config.Labels[inside.LabelName])
	if err == nil && c.Config.Labels[inside.LabelOwner] == g.Owner {
		return keyway.Errorf(keyway.NameTaken, "the container %s is the workspace %s already", NameOf(c), name).Advise(keyway.IsWorkspace, string(name))
	}
	return ofAnother(c, "is a workspace", c.Config.Labels[inside.LabelOwner])
}

// ofAnother refuses a container of another user of the place. owner comes from a file or label that
// any user may have written.
func ofAnother(c container.InspectResponse, what, owner string) error {
	if owner = strings.TrimSpace(owner); owner == "" || len(owner) > 10 || strings.Trim(owner, "0123456789") != "" {
		owner = "another user"
	} else {
		owner = "the user with uid " + owner
	}
	return keyway.Errorf(keyway.NameTaken, "the container %s %s of %s already", NameOf(c), what, owner).
		Hint("ask them to share it, or choose another container")
}

// NameOf returns the container's name for people.
func NameOf(c container.InspectResponse) string {
	if name := strings.TrimPrefix(c.Name, "/"); keyway.CheckContainer(name) == nil {
		return name
	}
	return c.ID[:min(len(c.ID), 12)]
}

// claimPath is the file by which an owner recognizes the remains of his guest. Programs in the
// container may write anything there.
const claimPath = string(keyway.GuestHome) + "/owner"

// maxClaim bounds the bytes of that file.
const maxClaim = 256

func (g *Guests) claim() string { return g.Owner + " " + g.Homes.Mark() + "\n" }

// untaken refuses a container that has a guest, or something else at the guest's path. It removes
// the remains of a guest of this owner that no Record names. If a Record cannot be read, that may be
// the one which names the guest.
func (g *Guests) untaken(ctx context.Context, c container.InspectResponse) error {
	taken, unknown := g.taken()
	if name, ok := taken[c.ID]; ok {
		return keyway.Errorf(keyway.NameTaken, "the container %s is the workspace %s already", NameOf(c), name).Advise(keyway.IsWorkspace, string(name))
	}
	if g.isFree(ctx, c.ID) {
		return nil
	}
	said := g.claimIn(ctx, c.ID)
	switch {
	case said == g.claim() && unknown != nil:
		return unknown
	case said == g.claim():
		return g.leaveRest(ctx, c.ID)
	}
	owner, _, whole := strings.Cut(said, " ")
	if !whole {
		return keyway.Errorf(keyway.Usage, "the container %s has something of its own at %s, where the guest would be", NameOf(c), keyway.GuestHome).
			Hint("see what it is, at the place: %s exec %s ls -la %s", g.Client.Name(), NameOf(c), keyway.GuestHome)
	}
	return ofAnother(c, "has a guest", owner)
}

// isFree reports whether there is nothing at the guest's path.
func (g *Guests) isFree(ctx context.Context, id string) bool {
	_, err := g.Client.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: string(keyway.GuestHome)})
	return daemon.IsNotFound(err)
}

// leaveRest removes the remains of a guest of this owner in a container, and ends that guest if it
// lives. The guest program in the container may be gone.
func (g *Guests) leaveRest(ctx context.Context, id string) error {
	rec := engine.Record{Container: id, Spec: keyway.Spec{Process: keyway.Process{User: root}}}
	archive, err := inside.HomeArchive(g.Guest, nil)
	if err == nil {
		err = g.in(rec).Extract(ctx, archive)
	}
	if err != nil {
		return g.Client.Explain(ctx, err)
	}
	return g.Leave(ctx, rec)
}

// claimIn returns the content of the claim file in the container; empty if there is none.
func (g *Guests) claimIn(ctx context.Context, id string) string {
	found, err := g.Client.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: claimPath})
	if err != nil {
		return ""
	}
	defer found.Content.Close()
	return readClaim(found.Content)
}

// readClaim reads an archive of one small file.
func readClaim(archive io.Reader) string {
	r := tar.NewReader(io.LimitReader(archive, 64<<10))
	h, err := r.Next()
	if err != nil || h.Typeflag != tar.TypeReg || h.Size > maxClaim {
		return ""
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return ""
	}
	return string(text)
}

// taken maps the IDs of containers to the workspaces of this owner in them. With an error, it has
// those of the Records that can be read.
func (g *Guests) taken() (map[string]keyway.Name, error) {
	taken := map[string]keyway.Name{}
	adopted, unknown := g.Homes.Adopted()
	for _, rec := range adopted {
		taken[rec.Container] = rec.Spec.Name
	}
	return taken, unknown
}

// maxListed bounds the containers that are listed.
const maxListed = 1 << 12

// List returns the running containers that were not made as workspaces.
func (g *Guests) List(ctx context.Context) ([]keyway.Container, error) {
	found, err := g.Client.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return nil, g.Client.Explain(ctx, err)
	}
	list := []keyway.Container{}
	taken, unknown := g.taken()
	for _, c := range found.Items[:min(len(found.Items), maxListed)] {
		if len(c.Names) == 0 || !keyway.IsContainerID(c.ID) || c.Labels[inside.LabelOwner] != "" && strings.HasPrefix(c.Names[0], "/keyway-") {
			continue
		}
		one := keyway.Container{
			Engine: g.Client.Name(), Name: strings.TrimPrefix(c.Names[0], "/"), ID: c.ID, Image: c.Image,
			Created: time.Unix(c.Created, 0).UTC(), Workspace: taken[c.ID],
		}
		if unknown != nil && one.Workspace == "" && g.claimIn(ctx, c.ID) == g.claim() {
			one.Unclear = keyway.AsError(unknown).Message
		}
		list = append(list, one)
	}
	return list, ctx.Err()
}
