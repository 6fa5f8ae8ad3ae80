local function inner(value)
    return value.field
end

print("before")
inner(nil)
