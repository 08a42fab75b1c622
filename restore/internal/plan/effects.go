package plan

import (
	"regrow/restore/internal/program"
	"regrow/tasktree/recipe"
)

// effects are those that recipes declare.
var effects = [...]program.Effect{
	recipe.Undeclared: program.EffectUndeclared,
	recipe.Nothing:    program.EffectNothing,
	recipe.GivesFD:    program.EffectGivesFD,
	recipe.GivesPair:  program.EffectGivesPair,
	recipe.Closes:     program.EffectCloses,
	recipe.NewSession: program.EffectSession,
	recipe.NewGroup:   program.EffectGroup,
	recipe.User:       program.EffectUser,
	recipe.Limit:      program.EffectLimit,
	recipe.Namespace:  program.EffectNamespace,
	recipe.Folder:     program.EffectFolder,
	recipe.Ends:       program.EffectEnds,
}

// EffectOf gives the effect of a plan's call for that of a recipe's.
func EffectOf(e recipe.Effect) program.Effect { return effects[e] }
