package access

import (
	"maps"
	"slices"
)

// AllRoles returns the names of all roles that a principal holds, in any workspace or in
// none, sorted and each once.
func (p *Principal) AllRoles() []string {
	all := slices.Concat(p.RoleNames, slices.Collect(maps.Values(p.Roles)))
	slices.Sort(all)
	return slices.Compact(all)
}
