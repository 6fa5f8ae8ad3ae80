local function grow(kept)
    while true do
        kept[#kept + 1] = ("x"):rep(1024 * 1024) .. #kept
    end
end

local ok, said = pcall(grow, {})
print(ok, said)
grow({})
