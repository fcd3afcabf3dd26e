-- Health of an AgentSession. Reads what kstatus reads (generation, Stalled, Reconciling, Ready), and the phase for
-- what only Argo CD has a word for: a session that waits for a person is Suspended.
local health = {status = "Progressing", message = "the operator has not seen it yet"}
local status = obj.status
if status == nil or status.phase == nil then
  return health
end
if status.observedGeneration ~= obj.metadata.generation then
  health.message = "the operator has not seen the last change yet"
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

if holds("Stalled") then
  health.status = "Degraded"
elseif status.phase == "Paused" or status.phase == "Waiting" then
  health.status = "Suspended"
elseif holds("Ready") and not holds("Reconciling") then
  health.status = "Healthy"
end
health.message = status.phase
if conditions.Ready ~= nil and conditions.Ready.message ~= "" then
  health.message = status.phase .. ": " .. conditions.Ready.message
end
return health
