error(setmetatable({}, { __tostring = function() return "an object that says what it is" end }))
