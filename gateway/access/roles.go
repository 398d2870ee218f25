package access

import (
	"maps"
	"slices"
	"strings"
)

// AllRoles returns the names of all roles that a principal holds, in any workspace or in
// none, sorted and each once. A name with a comma, or with a space at either end, is left
// out: where names are written in a row, as in the header that tells an upstream, it would
// read as two, or as another one.
func (p *Principal) AllRoles() []string {
	all := slices.Concat(p.RoleNames, slices.Collect(maps.Values(p.Roles)))
	all = slices.DeleteFunc(all, func(name string) bool {
		return name == "" || strings.Contains(name, ",") || name != strings.TrimSpace(name)
	})
	slices.Sort(all)
	return slices.Compact(all)
}
