// Package keyway holds the types that all packages share: names, places, workspaces, the Spec of a
// workspace, the files of a workspace's Home, and the one type of errors that users see. It decides
// nothing and starts nothing, so every other package may import it. Begin with Spec, Workspace and
// Error.
package keyway
